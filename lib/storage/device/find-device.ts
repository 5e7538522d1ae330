// Finds the block device of a disk. A device is known by a path, and the same path can be another device on another
// machine.
import { posix } from 'node:path';
import { FailedError, UnsupportedError } from '../../report/errors.ts';
import { runsOn } from '../../run/local-host.ts';
import type { Run } from '../../run/run.ts';
import { blockDevice, type BlockDevice } from '../../tools/block-device.ts';
import { realPaths } from '../../tools/file-facts.ts';
import { vmFolder } from '../../vm/names.ts';
import { stateName } from '../../vm/states.ts';
import type { Disk, History, Vm } from '../../vm/vm.ts';
import { ElsewhereError } from '../../guest/domain.ts';
import { diskLabel, type DumpPlan } from '../storage.ts';

export interface DeviceDisk {
  readonly plan: DumpPlan;
  /** Of the device itself, not of a link to it. */
  readonly path: string;
  readonly device: BlockDevice;
}

/**
 * The path of the device, which the image has as SOURCE, and to which `disk.<DISK_ID>` in the VM's folder is a link
 * (datastore_mad/remotes/dev/cp and tm_mad/dev/ln, 6.4 to 7.4).
 * @throws UnsupportedError when the VM does not name it, or was never deployed
 */
export function sourceOfDisk(vm: Vm, { id, source }: Disk): string {
  lastHistory(vm);
  if (source?.startsWith('/')) return source;
  throw new UnsupportedError(
    `disk ${id} of VM ${vm.id} has no SOURCE that is the path of a block device`,
  );
}

/**
 * Looks at the device of a disk.
 * @throws ElsewhereError when the path may be another device on this machine; FailedError when it is missing, is not a
 *   block device, or is not the one of the VM's folder
 */
export async function findDevice(plan: DumpPlan, run: Run): Promise<DeviceDisk> {
  const { vm, disk } = plan;
  const { runner } = run;
  const label = diskLabel(plan);
  const source = sourceOfDisk(vm, disk);
  const { hostname, datastoreId } = lastHistory(vm);
  if (!isSameEverywhere(source) && !(await runsOn(runner, hostname))) {
    throw new ElsewhereError(
      `${label} is the device ${source} of ${hostname}, where the VM was last; on ${runner.where} this path may be another device. Export the VM there`,
    );
  }
  const [path] = await realPaths(runner, [source]);
  if (path === undefined) {
    throw new FailedError(`${label} is missing: there is no device ${source} on ${runner.where}`);
  }
  const link = posix.join(vmFolder(run.datastoreLocation, datastoreId, vm.id), `disk.${disk.id}`);
  const [linked] = await realPaths(runner, [link]);
  // The folder of an undeployed VM can be on another machine than its devices.
  const mayLackLink = stateName(vm.state, vm.lcmState) === 'UNDEPLOYED';
  if (linked !== path && !(linked === undefined && mayLackLink)) {
    throw new FailedError(
      `${label} is ${source} for OpenNebula, but ${link} leads to ${linked ?? 'nothing'} on ${runner.where}`,
    );
  }
  return { plan, path, device: await blockDevice(runner, path, `${path} (${label})`) };
}

/** udev makes these names from the serial number of a device, so no other device has the same one. */
function isSameEverywhere(path: string): boolean {
  return path.startsWith('/dev/disk/by-id/');
}

function lastHistory(vm: Vm): History {
  if (vm.history) return vm.history;
  throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
}
