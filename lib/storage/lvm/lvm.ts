// Disks that are logical volumes: TM fs_lvm and fs_lvm_ssh. Every DISK of such a VM is a logical volume: images,
// CD-ROMs and volatile disks. What is run, and why, is documented in docs/storage-lvm.md.
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError, OnevmdumpError, UnsupportedError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import { writesTo } from '../../tools/block-writes.ts';
import type { DriverLock } from '../../tools/driver-lock.ts';
import {
  activate,
  createLvmSnapshots,
  devicePath,
  lvmOn,
  readVolumeGroup,
  type Lvm,
  type Volume,
  type VolumeGroup,
} from '../../tools/lvm.ts';
import { diskVolume, volumeGroup, volumeSnapshot } from './names.ts';
import { isCdrom, type Disk, type Vm } from '../../vm/vm.ts';
import { isRunning } from '../../guest/domain.ts';
import {
  requireClosed,
  requirePoolHere,
  requireReadable,
  requireSameVolumes,
  requireSameWrites,
  warnOfLeftovers,
  type LvmDisk,
} from './checks.ts';
import { lockGroup, requireLockable, whileLocked, type GroupChange } from './lock.ts';
import { openVolume } from './reader.ts';
import { requireRoom, snapshotExtents } from './room.ts';
import { groupSettings, lvmSettings } from './settings.ts';
import { volumeSource, type VolumeSource } from './source.ts';
import { deactivateVolume, removeSnapshotVolume } from './undo.ts';
import { planRawDisk } from '../raw-disk.ts';
import {
  diskLabel,
  sourceOf,
  type DumpPlan,
  type Prepared,
  type Snapshot,
  type StorageModule,
} from '../storage.ts';

export const lvmStorage: StorageModule = {
  tmMads: {
    // OpenNebula cannot restore to it: tm_mad/fs_lvm/restore is common/not_supported.sh, 6.6 to 7.4.
    fs_lvm: { movesDisks: false, unpacksTpm: false },
    // tm_mad/fs_lvm_ssh/restore, OpenNebula 7.0 to 7.4.
    fs_lvm_ssh: { movesDisks: false, unpacksTpm: true },
  },
  settings: { ...lvmSettings, ...groupSettings },
  undoKinds: [removeSnapshotVolume, deactivateVolume],

  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    const plan = planRawDisk(vm, disk, format, 'a logical volume');
    groupOf(vm);
    return plan;
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const [first] = plans;
    if (!first) return { pointInTime: 'given', snapshot: () => Promise.resolve([]) };
    const { vm } = first;
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const group = await readVolumeGroup(lvm, groupOf(vm)).catch((error: unknown) => {
      if (error instanceof OnevmdumpError) error.message += `; it is to have ${inWords(plans)}`;
      throw error;
    });
    const disks = plans.map((plan) => ({ plan, volume: volumeOf(plan, group, run) }));
    // Nobody writes to a CD-ROM, even while the VM runs.
    const written = disks.filter(({ plan }) => isRunning(vm) && !isCdrom(plan.disk));
    const unwritten = disks.filter((disk) => !written.includes(disk));

    if (!isRunning(vm)) await requireClosed(disks, lvm, run);
    await requirePoolHere(vm, unwritten, run);
    const inactive = unwritten.filter(({ volume }) => !volume.active);
    if (written.length + inactive.length > 0) {
      await requireLockable(lvm, run.settings(groupSettings), {
        group: group.name,
        ...changeFor(written, inactive),
      });
    }
    for (const disk of unwritten) await requireActive(disk, lvm, run);
    await requireReadable(disks, run);
    warnOfLeftovers(disks, group, run);
    const given: Snapshot[] = [];
    for (const { plan, volume } of unwritten) {
      const { source, ...snapshot } = snapshotOf(plan, volume, volume.name);
      const writes = await writesTo(run.runner, devicePath(volume));
      given.push({ ...snapshot, source: { ...source, writes } });
    }
    if (written.length === 0)
      return { pointInTime: 'given', snapshot: () => Promise.resolve(given) };

    await requireSameVolumes(vm, written, run);
    const volumes = written.map(({ volume }) => volume);
    const room = run.settings(lvmSettings);
    requireRoom(volumes, group, room);
    const { journal, runner } = run;
    const named = written.map(({ plan, volume }) => {
      const extents = volume.thin ? undefined : snapshotExtents(volume, group, room);
      const name = volumeSnapshot(journal.runId, plan.disk.id);
      return { plan, volume, origin: volume, extents, name, label: diskLabel(plan) };
    });
    for (const { name, volume } of named) {
      const at = { group: group.name, name, origin: volume.name };
      await journal.record(removeSnapshotVolume.undo(at), runner.target);
    }
    let lock: DriverLock | undefined;
    const release = async (): Promise<void> => lock?.release();
    return {
      pointInTime: written.length === 1 ? 'together' : 'apart',
      async claim() {
        lock = await lockGroup(lvm, group.name, `make snapshots of ${inWords(plans)}`, run.signal);
        return release;
      },
      snapshot: async () => {
        try {
          await createLvmSnapshots(lvm, named);
        } finally {
          // Not awaited, so that the guest is thawed or resumed sooner.
          void release();
        }
        return [...named.map(({ plan, volume, name }) => snapshotOf(plan, volume, name)), ...given];
      },
    };
  },

  async open(snapshot: Snapshot, run: Run): Promise<DiskReader> {
    return await openVolume(snapshot.plan, sourceOf(volumeSource, snapshot), run);
  },

  async requireUnwritten(snapshots: readonly Snapshot[], run: Run): Promise<void> {
    const own = snapshots.filter(({ plan: { vm, disk } }) => !isRunning(vm) && !isCdrom(disk));
    const [first] = own;
    if (!first) return;
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const group = await readVolumeGroup(lvm, groupOf(first.plan.vm));
    const disks = own.map(({ plan }) => ({ plan, volume: volumeOf(plan, group, run) }));
    await requireClosed(disks, lvm, run);
    await requireSameWrites(own, run);
  },
};

/** What the volume group is changed for. */
function changeFor(
  written: readonly LvmDisk[],
  inactive: readonly LvmDisk[],
): Pick<GroupChange, 'doing' | 'instead'> {
  if (written.length === 0)
    return { doing: `activate the volumes of ${inWords(inactive.map(({ plan }) => plan))}` };
  return {
    doing: `make snapshots of ${inWords(written.map(({ plan }) => plan))}`,
    instead: 'use --snapshot qemu, which does not change the group',
  };
}

/** "disk 0 and disk 1 of VM 7". */
function inWords(plans: readonly DumpPlan[]): string {
  const disks = plans.map(({ disk }) => `disk ${disk.id}`);
  return `${disks.join(' and ')} of VM ${plans[0]?.vm.id ?? ''}`;
}

/** The volume group of the VM's system datastore. @throws UnsupportedError for a VM that never ran. */
function groupOf(vm: Vm): string {
  if (vm.history) return volumeGroup(vm.history.datastoreId);
  throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
}

/**
 * Returns the volume of a disk.
 * @throws FailedError when it is missing, or is not active although the VM runs.
 */
function volumeOf(plan: DumpPlan, group: VolumeGroup, { runner }: Run): Volume {
  const { vm, disk } = plan;
  const name = diskVolume(vm.id, disk.id);
  const volume = group.volumes.get(name);
  if (!volume) {
    throw new FailedError(
      `${diskLabel(plan)} is missing: there is no volume ${name} in the volume group ${group.name} on ${runner.where}`,
    );
  }
  if (isRunning(vm) && !volume.active) {
    throw new FailedError(
      `VM ${vm.id} should run, but the volume ${group.name}/${name} of its disk ${disk.id} is not active on ${runner.where}`,
    );
  }
  return volume;
}

function snapshotOf(plan: DumpPlan, volume: Volume, name: string): Snapshot<VolumeSource> {
  const { group, bytes } = volume;
  const own = { group, name, virtualSize: bytes };
  const snapshot = volume.thin ? 'thin' : 'thick';
  return {
    plan,
    layout: { format: 'raw' },
    source: name === volume.name ? own : { ...own, snapshot },
  };
}

/** Activates a volume for as long as the run lasts. A volume of a VM that is off may be inactive. */
async function requireActive(
  { plan, volume }: LvmDisk,
  lvm: Lvm,
  { journal, runner }: Run,
): Promise<void> {
  if (volume.active) return;
  const { group, name } = volume;
  await journal.record(deactivateVolume.undo({ group, name }), runner.target);
  const doing = `activate the volume ${group}/${name} of ${diskLabel(plan)}`;
  await whileLocked(lvm, group, doing, () => activate(lvm, volume));
}
