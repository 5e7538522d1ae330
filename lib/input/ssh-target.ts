// Names of hosts and users that ssh is given: from options, settings, and the VM's XML.
import { hostname } from 'node:os';
import { UnsupportedError, UsageError } from '../report/errors.ts';
import type { SshTarget } from '../run/runner.ts';
import { stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';

/** A name, or an address; never an option, nor anything that a shell or ssh could see more in. */
const hostPattern = /^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}$/;
const userPattern = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}$/;

/** @throws UsageError naming what is no host or user, or what is missing */
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

/** @throws UsageError */
export function parseHost(text: string): string {
  if (hostPattern.test(text)) return text;
  throw new UsageError(`${JSON.stringify(text)} is no name of a host`);
}

/** @throws UsageError */
export function parseUser(text: string): string {
  if (userPattern.test(text)) return text;
  throw new UsageError(`${JSON.stringify(text)} is no name of a user`);
}

/** UNDEPLOYED: OpenNebula has brought the disks back to its front-end. */
const undeployed = 9;

/**
 * Where a VM's disks are, as a setting or an option says: known when the VM is.
 * @param wished `auto` is the host of its last history record
 * @returns undefined for this machine
 * @throws UnsupportedError when the record names none
 */
export function hostOfDisks(
  wished: SshTarget | undefined,
  vm: Vm,
  hostOption: string,
): SshTarget | undefined {
  return wished?.host === 'auto' ? hostOfVm(vm, wished.user, hostOption) : wished;
}

function hostOfVm(vm: Vm, user: string | undefined, hostOption: string): SshTarget | undefined {
  if (vm.state === undeployed || isThisMachine(vm.history?.hostname)) return undefined;
  const host = vm.history?.hostname ?? '';
  if (!hostPattern.test(host)) {
    const what = `VM ${vm.id} (${stateName(vm.state, vm.lcmState)})`;
    throw new UnsupportedError(
      `${hostOption} auto: the history of ${what} names no host: ${JSON.stringify(host)}`,
    );
  }
  return { host, ...(user === undefined ? {} : { user }) };
}

/** Whether a host of that name is the one we run on, as far as names tell. */
export function isThisMachine(host: string | undefined): boolean {
  const own = hostname();
  return host === 'localhost' || host === own || host === own.split('.')[0];
}
