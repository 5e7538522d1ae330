// Names of hosts and users for ssh, from options, settings, and the VM's XML.
import { UsageError } from '../report/errors.ts';
import type { SshTarget } from './runner.ts';

/** A name or an address; never an option, nor anything with a meaning to a shell or to ssh. */
const hostPattern = /^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}$/;
const userPattern = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}$/;

/** @throws UsageError naming what is not a host or user, or what is missing */
export function parseSshTarget(
  host: string | undefined,
  user: string | undefined,
  { hostOption, userOption }: { readonly hostOption: string; readonly userOption: string },
): SshTarget | undefined {
  if (host === undefined) {
    if (user !== undefined) throw new UsageError(`${userOption} needs ${hostOption}`);
    return undefined;
  }
  return { host: parseHost(host), ...(user === undefined ? {} : { user: parseUser(user) }) };
}

/** Whether ssh can be given this name of a host. */
export function isHostName(text: string): boolean {
  return hostPattern.test(text);
}

/** Whether ssh can be given this name of a user. */
export function isUserName(text: string): boolean {
  return userPattern.test(text);
}

/** @throws UsageError */
export function parseHost(text: string): string {
  if (isHostName(text)) return text;
  throw new UsageError(`${JSON.stringify(text)} is not a valid host name`);
}

/** @throws UsageError */
export function parseUser(text: string): string {
  if (isUserName(text)) return text;
  throw new UsageError(`${JSON.stringify(text)} is not a valid user name`);
}
