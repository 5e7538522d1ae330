// What the storages have in common whose disks are always raw: logical volumes and RBD images.
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { UnsupportedError } from '../report/errors.ts';
import { activityOf, stateName } from '../vm/states.ts';
import type { Disk, Vm } from '../vm/vm.ts';
import type { DumpPlan } from './storage.ts';

/**
 * Plans the dump of a disk that is raw on its storage.
 * @param kind what the disk is there, for messages: `a logical volume`
 * @throws UnsupportedError when it cannot be dumped in the VM's state, or is declared with another format
 */
export function planRawDisk(vm: Vm, disk: Disk, format: DiskFormat, kind: string): DumpPlan {
  const what = `disk ${disk.id} of VM ${vm.id} is ${kind}`;
  if (!activityOf(vm.state, vm.lcmState)) {
    throw new UnsupportedError(
      `${what}, which cannot be dumped in state ${stateName(vm.state, vm.lcmState)}`,
    );
  }
  if (format !== 'raw') {
    throw new UnsupportedError(`${what}, which is raw, but declared as ${format}`);
  }
  return { vm, disk, format };
}
