// Whether a host, as OpenNebula names it, is the machine we run on.
import { lookup } from 'node:dns/promises';
import { hostname, networkInterfaces } from 'node:os';

/** True when the name is ours, or leads to an address of this machine. Never rejects. */
export async function isThisMachine(host: string): Promise<boolean> {
  if (host === 'localhost' || host === hostname()) return true;
  const own = new Set(
    Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []),
  );
  try {
    const found = await lookup(host, { all: true });
    return found.some(({ address }) => address.startsWith('127.') || own.has(address));
  } catch {
    return false;
  }
}
