// Whether a host, as OpenNebula names it, is the machine we run on.
import { hostname, networkInterfaces } from 'node:os';
import { addressesOf } from './host-addresses.ts';

/**
 * True when the name, whole or without its domain, is ours, or when it is or leads to an address of this machine. Never
 * rejects: a host that cannot be looked up is not this machine.
 */
export async function isThisMachine(host: string): Promise<boolean> {
  if (host === '') return false;
  const own = hostname();
  if (['localhost', own, own.split('.')[0]].includes(host)) return true;
  const local = new Set(
    Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []),
  );
  try {
    const found = await addressesOf(host);
    return found.some(({ address }) => isLoopback(address) || local.has(address));
  } catch {
    return false;
  }
}

/** The hosts file may give a machine's own name one of these, as Debian's does: 127.0.1.1. */
function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}
