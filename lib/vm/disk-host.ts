// The machine where a VM's disks are, as a setting or an option says: known when the VM is.
import { UnsupportedError } from '../report/errors.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { SshTarget } from '../run/runner.ts';
import { stateName } from './states.ts';
import type { Vm } from './vm.ts';
import { isHostName } from '../run/ssh-target.ts';

/** UNDEPLOYED: OpenNebula has brought the disks back to its front-end. */
const undeployed = 9;

/**
 * @param wished `auto` is the host of the VM's last history record
 * @returns undefined for this machine
 * @throws UnsupportedError when the record names none
 */
export async function hostOfDisks(
  wished: SshTarget | undefined,
  vm: Vm,
  hostOption: string,
): Promise<SshTarget | undefined> {
  return wished?.host === 'auto' ? await hostOfVm(vm, wished.user, hostOption) : wished;
}

async function hostOfVm(
  vm: Vm,
  user: string | undefined,
  hostOption: string,
): Promise<SshTarget | undefined> {
  if (vm.state === undeployed) return undefined;
  const host = vm.history?.hostname ?? '';
  if (!isHostName(host)) {
    const what = `VM ${vm.id} (${stateName(vm.state, vm.lcmState)})`;
    throw new UnsupportedError(
      `${hostOption} auto: the history of ${what} names no valid host: ${JSON.stringify(host)}`,
    );
  }
  return await targetOfHost(host, user);
}
