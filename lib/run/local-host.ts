// Whether a host, as OpenNebula names it, is the machine we run on, and how it is reached if it is not.
import { hostname, networkInterfaces } from 'node:os';
import { addressesOf } from './host-addresses.ts';
import type { Runner, SshTarget } from './runner.ts';
import { parseHost, parseUser } from './ssh-target.ts';

/**
 * How a host is reached by ssh; undefined for this machine.
 * @throws UsageError when it is another machine and ssh cannot be given its name, or the user's
 */
export async function targetOfHost(host: string, user?: string): Promise<SshTarget | undefined> {
  if (await isThisMachine(host)) return undefined;
  return { host: parseHost(host), ...(user === undefined ? {} : { user: parseUser(user) }) };
}

/** Whether a runner's programs run on the host that OpenNebula calls `host`. */
export async function runsOn({ target }: Pick<Runner, 'target'>, host: string): Promise<boolean> {
  return target ? target.host === host : await isThisMachine(host);
}

/**
 * Whether the name, with or without its domain, is this machine's, or is or resolves to one of its addresses. Never
 * rejects: a host that cannot be resolved is not this machine.
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

/** The hosts file may give a machine's own name such an address; Debian's has 127.0.1.1. */
function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}
