// Which VMs are not virtual machines of KVM. oned notes the virtualization driver of the host in VM_MAD of each history
// record (History.cc). The name is an administrator's choice, so only the names that OpenNebula itself gives to drivers of
// other hypervisors (oned.conf, 6.4 to 7.4) tell what a VM is; any other name may be one of KVM.
import { UnsupportedError } from '../report/errors.ts';
import type { Vm } from './vm.ts';

/** VM_MAD -> whose driver it is. */
const others: ReadonlyMap<string, string> = new Map([
  ['lxc', 'LXC'],
  ['lxd', 'LXD'],
  ['firecracker', 'Firecracker'],
  ['vcenter', 'vCenter'],
]);

/**
 * Checks that KVM or QEMU runs the VM. A container or a microVM is refused in every state, although its disks may be files:
 * they have no boot loader, so the VM that is restored from them would not start.
 * @throws UnsupportedError
 */
export function requireKvm({ id, history }: Pick<Vm, 'id' | 'history'>): void {
  const vmMad = history?.vmMad ?? '';
  const hypervisor = others.get(vmMad.toLowerCase());
  if (hypervisor === undefined) return;
  throw new UnsupportedError(
    `VM ${id} is not run by KVM, but by ${hypervisor} (VM_MAD ${vmMad}); only VMs of KVM and QEMU can be exported`,
    { code: 'unsupported-hypervisor', facts: { vmId: id, vmMad } },
  );
}
