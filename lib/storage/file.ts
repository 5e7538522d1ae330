// Disks that are files in the VM's folder of the system datastore: TM ssh, local, shared, qcow2.
// What is run, and why, is documented in docs/storage-file.md.
import type { DiskFormat } from '../bundle/manifest.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import { UnsupportedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { diskFile, vmFolder } from '../vm/names.ts';
import { activityOf, stateName } from '../vm/states.ts';
import type { Disk, History, Vm } from '../vm/vm.ts';
import { inspectImage, type Image } from './image-chain.ts';
import { openImage } from './image-server.ts';
import { diskLabel, type DumpPlan, type Snapshot, type StorageModule } from './storage.ts';

export const fileStorage: StorageModule = {
  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    if (activityOf(vm.state, vm.lcmState) !== 'offline') {
      throw new UnsupportedError(
        `disk ${disk.id} of VM ${vm.id} is a file, which cannot be dumped in state ${stateName(vm.state, vm.lcmState)}; power the VM off first`,
      );
    }
    lastHistory(vm);
    return { vm, disk, format };
  },

  /** Nothing writes to the disks of a VM that is off: it is enough to look at them. */
  async snapshot(plans: readonly DumpPlan[], run: Run): Promise<readonly Snapshot[]> {
    const snapshots: Snapshot[] = [];
    for (const plan of plans) {
      const { node, virtualSize, clusterSize } = await inspectDisk(plan, run);
      snapshots.push({
        plan,
        layout: clusterSize === undefined ? { format: 'raw' } : { format: 'qcow2', clusterSize },
        source: { kind: 'image', node, virtualSize },
      });
    }
    return snapshots;
  },

  async open({ plan, source }: Snapshot, run: Run): Promise<DiskReader> {
    return await openImage(source, diskLabel(plan), run);
  },
};

async function inspectDisk({ vm, disk, format, ...plan }: DumpPlan, run: Run): Promise<Image> {
  const systemDatastore = lastHistory(vm).datastoreId;
  const { datastoreLocation } = run;
  const folder = vmFolder(datastoreLocation, systemDatastore, vm.id);
  // A datastore's folder can be a link to where it is mounted.
  const datastores = [systemDatastore, disk.datastoreId ?? systemDatastore];
  const folders = [
    datastoreLocation,
    ...datastores.map((id) => `${datastoreLocation}/${id}`),
    ...run.allowedBackingFolders,
  ];
  const source = disk.source?.startsWith('/') ? { path: disk.source, format } : undefined;
  const label = diskLabel({ vm, disk, format, ...plan });
  const path = diskFile(folder, disk.id);
  return await inspectImage({ path, format, label, folders, source }, run.runner);
}

/** The record that names the system datastore. @throws UnsupportedError for a VM that never ran. */
function lastHistory(vm: Vm): History {
  if (vm.history) return vm.history;
  throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
}
