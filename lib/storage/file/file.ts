// Disks that are files in the VM's folder of the system datastore: TM ssh, local, shared, qcow2.
// What is run, and why, is documented in docs/storage-file.md.
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError, UnsupportedError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import { fileStamps } from '../../tools/file-facts.ts';
import { isOpenForWriting } from '../../tools/qemu-img.ts';
import type { BlockNode } from '../../tools/qemu-nbd.ts';
import { vmFolder } from '../../vm/names.ts';
import { activityOf, stateName } from '../../vm/states.ts';
import { isCdrom, type Disk, type History, type Vm } from '../../vm/vm.ts';
import { inspectImage, inspectTop, type ImageRequest } from './image-chain.ts';
import { openImage } from '../open-image.ts';
import { diskFile } from './names.ts';
import { fileSettings } from './settings.ts';
import { fileSource, type FileSource } from './source.ts';
import {
  diskLabel,
  sourceOf,
  type DumpPlan,
  type Prepared,
  type RunningDisk,
  type Snapshot,
  type StorageModule,
} from '../storage.ts';

/** Source: the `restore` of each of these TM drivers, such as tm_mad/ssh/restore, OpenNebula 6.6 to 7.4. */
const restored = { movesDisks: true, unpacksTpm: true };

export const fileStorage: StorageModule = {
  // From OpenNebula 7.0 on, `ssh` is called `local`.
  tmMads: { ssh: restored, local: restored, shared: restored, qcow2: restored },
  settings: { ...fileSettings },
  undoKinds: [],
  hasSnapshots: false,

  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    if (!activityOf(vm.state, vm.lcmState)) {
      throw new UnsupportedError(
        `disk ${disk.id} of VM ${vm.id} is a file, which cannot be dumped in state ${stateName(vm.state, vm.lcmState)}`,
      );
    }
    lastHistory(vm);
    return { vm, disk, format };
  },

  async running(plans: readonly DumpPlan[], run: Run): Promise<readonly RunningDisk[]> {
    const disks: RunningDisk[] = [];
    for (const plan of plans) {
      const top = await inspectTop(imageRequest(plan, run), run.runner, run.log);
      const { path, virtualSize, layout } = top;
      disks.push({ plan, place: { path }, virtualSize, layout });
    }
    return disks;
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const snapshots: Snapshot[] = [];
    for (const plan of plans) snapshots.push(await unchangingDisk(plan, run));
    return { pointInTime: 'given', snapshot: () => Promise.resolve(snapshots) };
  },

  async open(snapshot: Snapshot, run: Run): Promise<DiskReader> {
    return await openImage(sourceOf(fileSource, snapshot), diskLabel(snapshot.plan), run);
  },

  async requireUnwritten(snapshots: readonly Snapshot[], { runner }: Run): Promise<void> {
    for (const snapshot of snapshots) {
      const { plan } = snapshot;
      const source = sourceOf(fileSource, snapshot);
      const paths = Object.keys(source.stamps);
      const now = await fileStamps(runner, paths, diskLabel(plan));
      const written = paths.find((path) => now[path] !== source.stamps[path]);
      if (written === undefined) continue;
      throw new FailedError(
        `${diskLabel(plan)} was written to while it was being read: ${written} has changed; was the VM started meanwhile?`,
      );
    }
  },
};

/**
 * Inspects a disk of a VM that is off, or a CD-ROM. Nobody should write to it, so its point in time need not be
 * fixed.
 * @throws FailedError when something has the disk open for writing; this is not checked for a CD-ROM.
 */
async function unchangingDisk(plan: DumpPlan, run: Run): Promise<Snapshot<FileSource>> {
  const { vm, disk } = plan;
  const { runner } = run;
  const image = await inspectImage(imageRequest(plan, run), runner);
  const { node, virtualSize, clusterSize } = image;
  const stamps = await fileStamps(runner, layerPaths(node), diskLabel(plan));
  if (!isCdrom(disk) && (await isOpenForWriting(runner, node.path, diskLabel(plan)))) {
    throw new FailedError(
      `${diskLabel(plan)} is open for writing (${node.path}), although the VM is ${stateName(vm.state, vm.lcmState)}: its guest may run in spite of that, or another program uses the disk`,
    );
  }
  return {
    plan,
    layout: clusterSize === undefined ? { format: 'raw' } : { format: 'qcow2', clusterSize },
    virtualSize,
    source: { node, virtualSize, stamps },
  };
}

/** Returns the files of an image, from the top layer to the bottom one. */
function layerPaths(node: BlockNode): readonly string[] {
  const below = node.driver === 'qcow2' && node.backing ? layerPaths(node.backing) : [];
  return [node.path, ...below];
}

function folderOf(vm: Vm, run: Run): string {
  return vmFolder(run.datastoreLocation, lastHistory(vm).datastoreId, vm.id);
}

function imageRequest(plan: DumpPlan, run: Run): ImageRequest {
  const { vm, disk, format } = plan;
  const systemDatastore = lastHistory(vm).datastoreId;
  const { datastoreLocation } = run;
  // A datastore's folder can be a link to where it is mounted.
  const datastores = [systemDatastore, disk.datastoreId ?? systemDatastore];
  const folders = [
    datastoreLocation,
    ...datastores.map((id) => `${datastoreLocation}/${id}`),
    ...run.settings(fileSettings).allowedBackingDirs,
  ];
  const source = disk.source?.startsWith('/')
    ? { path: disk.source, format, sizeMb: disk.originalSizeMb }
    : undefined;
  const path = diskFile(folderOf(vm, run), disk.id);
  return { path, format, label: diskLabel(plan), folders, sizeMb: disk.sizeMb, source };
}

/**
 * Returns the history record that names the system datastore.
 * @throws UnsupportedError for a VM that never ran.
 */
function lastHistory(vm: Vm): History {
  if (vm.history) return vm.history;
  throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
}
