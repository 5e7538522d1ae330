// Disks that are block devices of the VM's host, which OpenNebula only attaches: TM dev. They have no snapshots of their
// own. What is run, and why, is documented in docs/storage-device.md.
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import type { DiskReader } from '../../read/disk-reader.ts';
import type { Run } from '../../run/run.ts';
import { userOfDevice } from '../../tools/block-device.ts';
import { writesTo } from '../../tools/block-writes.ts';
import { isOpenForWriting } from '../../tools/qemu-img.ts';
import { isReadOnly, type Disk, type Vm } from '../../vm/vm.ts';
import { isRunning } from '../../guest/domain.ts';
import { requireReadable, requireSameWrites, requireUnused } from '../device-checks.ts';
import { openImage } from '../open-image.ts';
import { planRawDisk } from '../raw-disk.ts';
import {
  diskLabel,
  sourceOf,
  type DumpPlan,
  type Prepared,
  type RunningDisk,
  type Snapshot,
  type StorageModule,
} from '../storage.ts';
import { findDevice, sourceOfDisk, type DeviceDisk } from './find-device.ts';
import { deviceSource, type DeviceSource } from './source.ts';

export const deviceStorage: StorageModule = {
  // No system datastore has it (oned.conf, DATASTORE_MAD -s, 6.4 to 7.4), so it has no `restore`.
  tmMads: { dev: undefined },
  settings: {},
  undoKinds: [],
  hasSnapshots: false,

  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    const plan = planRawDisk(vm, disk, format, 'a block device');
    sourceOfDisk(vm, disk);
    return plan;
  },

  async running(plans: readonly DumpPlan[], run: Run): Promise<readonly RunningDisk[]> {
    const disks: RunningDisk[] = [];
    for (const { plan, path, device } of await findDevices(plans, run)) {
      disks.push({ plan, place: { path }, virtualSize: device.bytes, layout: { format: 'raw' } });
    }
    return disks;
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const written = plans.find(({ vm, disk }) => isRunning(vm) && !isReadOnly(disk));
    if (written) throw new Error(`only a backup job can fix ${diskLabel(written)}`);
    const disks = await findDevices(plans, run);
    await requireReadable(disks, run);
    await requireClosed(disks, run);
    const snapshots: Snapshot<DeviceSource>[] = [];
    for (const { plan, path, device } of disks) {
      const writes = await writesTo(run.runner, path);
      const virtualSize = device.bytes;
      const source = { path, writes, virtualSize };
      snapshots.push({ plan, layout: { format: 'raw' }, virtualSize, source });
    }
    return { pointInTime: 'given', snapshot: () => Promise.resolve(snapshots) };
  },

  async open(snapshot: Snapshot, run: Run): Promise<DiskReader> {
    const { path, virtualSize } = sourceOf(deviceSource, snapshot);
    const node = { driver: 'raw', path, device: true } as const;
    return await openImage({ node, virtualSize }, diskLabel(snapshot.plan), run);
  },

  async requireUnwritten(snapshots: readonly Snapshot[], run: Run): Promise<void> {
    const own = snapshots.filter(({ plan: { vm, disk } }) => !isRunning(vm) && !isReadOnly(disk));
    const plans = own.map(({ plan }) => plan);
    await requireClosed(await findDevices(plans, run), run);
    const read = own.map((snapshot) => ({
      ...sourceOf(deviceSource, snapshot),
      plan: snapshot.plan,
    }));
    await requireSameWrites(read, run);
  },
};

async function findDevices(plans: readonly DumpPlan[], run: Run): Promise<readonly DeviceDisk[]> {
  const disks: DeviceDisk[] = [];
  for (const plan of plans) disks.push(await findDevice(plan, run));
  return disks;
}

/** Checks that nobody uses devices that a VM writes to when it runs. @throws FailedError */
async function requireClosed(disks: readonly DeviceDisk[], run: Run): Promise<void> {
  const look = async ({ plan, path, device }: DeviceDisk): Promise<string | undefined> => {
    const what = `${path} (${diskLabel(plan)})`;
    // QEMU's own locks show a guest also if its process belongs to another user, whose files only root can see.
    if (await isOpenForWriting(run.runner, path, what, 'host_device')) return 'open for writing';
    return await userOfDevice(run.runner, device, what);
  };
  const used: DeviceDisk[] = [];
  for (const disk of disks) {
    if (!isReadOnly(disk.plan.disk) && (await look(disk)) !== undefined) used.push(disk);
  }
  await requireUnused(used, look, run);
}
