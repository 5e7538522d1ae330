// Looks up the addresses of a host as other programs of this machine do. When Node connects, it calls getaddrinfo(3)
// with AI_ADDRCONFIG: on a machine that has any IPv6 address and no DNS, glibc then fails for a name that has only an
// IPv4 address in the hosts file, above all `localhost`.
import { lookup as nodeLookup, type LookupAddress } from 'node:dns';
import { lookup as lookupNow } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';

/** Returns all addresses of a host, in the system's order. @throws Node's error for that of getaddrinfo(3) */
export async function addressesOf(host: string): Promise<readonly LookupAddress[]> {
  const options = { all: true, hints: 0, order: 'verbatim' } as const;
  try {
    return await lookupNow(host, options);
  } catch (error) {
    // One kind of address may be found although the other cannot be looked up now.
    for (const family of [4, 6]) {
      const found = await lookupNow(host, { ...options, family }).catch(() => []);
      if (found.length > 0) return found;
    }
    throw error;
  }
}

/** The option `lookup` of a connection, which then tries all addresses. */
export const lookupHost: LookupFunction = (host, options, done) => {
  // A connection that is bound to one kind of address; we make none.
  if (options.family) {
    nodeLookup(host, options, done);
    return;
  }
  addressesOf(host).then(
    (found) => {
      const [first] = found;
      if (options.all) done(null, [...found]);
      else done(null, first?.address ?? '', first?.family);
    },
    (error: unknown) => done(error as NodeJS.ErrnoException, ''),
  );
};
