// The machine on which a VM's disks are, from an option or setting, which may be `auto`.
import { UnsupportedError } from '../report/errors.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { SshTarget } from '../run/runner.ts';
import { stateName } from './states.ts';
import type { Vm } from './vm.ts';
import { isHostName } from '../run/ssh-target.ts';

/** UNDEPLOYED: OpenNebula has brought the disks back to its front-end. */
const undeployed = 9;

/**
 * The machine on which a VM's disks are.
 * @param requested a host; `auto` is the host of the VM's last history record
 * @param hostOption its name for messages
 * @returns undefined for this machine
 * @throws UnsupportedError when the record names no valid host
 */
export async function hostOfDisks(
  requested: SshTarget | undefined,
  vm: Vm,
  hostOption: string,
): Promise<SshTarget | undefined> {
  return requested?.host === 'auto' ? await hostOfVm(vm, requested.user, hostOption) : requested;
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
