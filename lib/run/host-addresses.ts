// Addresses of a host, looked up as other programs of this machine do. Node asks getaddrinfo(3) with AI_ADDRCONFIG when it
// connects: on a machine with an IPv6 address of whatever kind, and without DNS, glibc then fails for a name that has
// only an IPv4 address in the hosts file, `localhost` above all.
import { lookup as nodeLookup, type LookupAddress } from 'node:dns';
import { lookup as lookupNow } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';

/** All addresses of a host, in the system's order. @throws what getaddrinfo(3) says, as Node gives it */
export async function addressesOf(host: string): Promise<readonly LookupAddress[]> {
  const options = { all: true, hints: 0, order: 'verbatim' } as const;
  try {
    return await lookupNow(host, options);
  } catch (error) {
    // Of the one kind, though the other cannot be asked for now.
    for (const family of [4, 6]) {
      const found = await lookupNow(host, { ...options, family }).catch(() => []);
      if (found.length > 0) return found;
    }
    throw error;
  }
}

/** For the `lookup` of a connection, which then tries all addresses. */
export const lookupHost: LookupFunction = (host, options, done) => {
  // A connection that is bound to a kind of address, which none of ours is.
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
