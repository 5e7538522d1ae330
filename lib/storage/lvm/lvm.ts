// Disks that are logical volumes: TM fs_lvm, fs_lvm_ssh and lvm. With these every DISK is a logical volume: images,
// CD-ROMs and volatile disks. What is run, and why, is documented in docs/storage-lvm.md.
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import type { DiskReader } from '../../read/disk-reader.ts';
import type { Run } from '../../run/run.ts';
import { writesTo } from '../../tools/block-writes.ts';
import type { DriverLock } from '../../tools/driver-lock.ts';
import {
  activate,
  createLvmSnapshots,
  devicePath,
  lvmOn,
  type Lvm,
  type Volume,
} from '../../tools/lvm.ts';
import { diskVolume, volumeSnapshot } from './names.ts';
import { isReadOnly, type Disk, type Vm } from '../../vm/vm.ts';
import { domainFacts, domainOf, isRunning } from '../../guest/domain.ts';
import { requireAlone, requireClosed, requirePoolHere, warnOfLeftovers } from './checks.ts';
import { lockGroups, requireLockable, whileLocked, type GroupChange } from './lock.ts';
import { openVolume } from './reader.ts';
import { requireRoom, snapshotExtents } from './room.ts';
import { groupSettings, lvmSettings } from './settings.ts';
import { volumeSource, type VolumeSource } from './source.ts';
import { deactivateVolume, removeSnapshotVolume } from './undo.ts';
import { findVolumes, disksInWords, type LvmDisk } from './volumes.ts';
import { requireReadable, requireSameWrites } from '../device-checks.ts';
import { planRawDisk } from '../raw-disk.ts';
import { requireSameDisks } from '../running-disks.ts';
import {
  diskLabel,
  sourceOf,
  type DumpPlan,
  type Prepared,
  type RunningDisk,
  type Snapshot,
  type StorageModule,
} from '../storage.ts';

export const lvmStorage: StorageModule = {
  tmMads: {
    // OpenNebula cannot restore to it: tm_mad/fs_lvm/restore is common/not_supported.sh, 6.6 to 7.4.
    fs_lvm: { movesDisks: false, unpacksTpm: false },
    // tm_mad/fs_lvm_ssh/restore, OpenNebula 7.0 to 7.4.
    fs_lvm_ssh: { movesDisks: false, unpacksTpm: true },
    // tm_mad/lvm/restore, OpenNebula 7.4: it converts each disk with `qemu-img convert` without its format, and would
    // treat the state of a vTPM as disk 0.
    lvm: { movesDisks: false, unpacksTpm: false },
  },
  settings: { ...lvmSettings, ...groupSettings },
  undoKinds: [removeSnapshotVolume, deactivateVolume],
  hasSnapshots: true,

  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    const plan = planRawDisk(vm, disk, format, 'a logical volume');
    diskVolume(vm, disk);
    return plan;
  },

  async running(plans: readonly DumpPlan[], run: Run): Promise<readonly RunningDisk[]> {
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const groups = await findVolumes(plans, lvm);
    const disks = groups.flatMap((one) => one.disks);
    for (const one of groups) warnOfLeftovers(one, run);
    return disks.map(runningDisk);
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const [first] = plans;
    if (!first) return { pointInTime: 'given', snapshot: () => Promise.resolve([]) };
    const { vm } = first;
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const groups = await findVolumes(plans, lvm);
    const disks = groups.flatMap((one) => one.disks);
    const written = disks.filter((disk) => isRunning(vm) && !isReadOnly(disk.plan.disk));
    const unwritten = disks.filter((disk) => !written.includes(disk));

    if (!isRunning(vm)) await requireClosed(disks, lvm, run);
    await requirePoolHere(vm, unwritten, run);
    for (const { group, disks: own } of groups) {
      const change = changeFor(
        own.filter((disk) => written.includes(disk)),
        own.filter((disk) => unwritten.includes(disk) && !disk.volume.active),
      );
      const settings = run.settings(groupSettings);
      if (change) await requireLockable(lvm, settings, { group: group.name, ...change });
    }
    for (const disk of unwritten) await requireActive(disk, lvm, run);
    await requireReadable(disks, run);
    for (const one of groups) warnOfLeftovers(one, run);
    const given: Snapshot[] = [];
    for (const { plan, volume, path } of unwritten) {
      const { source, ...snapshot } = snapshotOf(plan, volume, volume.name);
      const writes = await writesTo(run.runner, path);
      given.push({ ...snapshot, source: { ...source, writes } });
    }
    if (written.length === 0)
      return { pointInTime: 'given', snapshot: () => Promise.resolve(given) };

    const facts = await domainFacts(vm, domainOf(vm, run));
    await requireSameDisks(written.map(runningDisk), facts, run);
    requireAlone(written);
    const room = run.settings(lvmSettings);
    const { journal, runner } = run;
    const named = groups.flatMap(({ group, disks: own }) => {
      const chosen = own.filter((disk) => written.includes(disk));
      const volumes = chosen.map(({ volume }) => volume);
      requireRoom(volumes, group, room);
      return chosen.map(({ plan, volume }) => {
        const extents = volume.thin ? undefined : snapshotExtents(volume, group, room);
        const name = volumeSnapshot(journal.runId, plan.disk.id);
        return { plan, volume, origin: volume, extents, name, label: diskLabel(plan) };
      });
    });
    for (const { name, volume } of named) {
      const at = { group: volume.group, name, origin: volume.name };
      await journal.record(removeSnapshotVolume.undo(at), runner.target);
    }
    let lock: DriverLock | undefined;
    const release = async (): Promise<void> => lock?.release();
    return {
      pointInTime: written.length === 1 ? 'together' : 'apart',
      async claim() {
        const changed = new Map(named.map(({ volume }) => [volume.group, volume]));
        const doing = `make snapshots of ${disksInWords(named.map(({ plan }) => plan))}`;
        lock = await lockGroups(lvm, [...changed.values()], doing, run.signal);
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
    const own = snapshots.filter(({ plan: { vm, disk } }) => !isRunning(vm) && !isReadOnly(disk));
    if (own.length === 0) return;
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const groups = await findVolumes(
      own.map(({ plan }) => plan),
      lvm,
    );
    await requireClosed(
      groups.flatMap(({ disks }) => disks),
      lvm,
      run,
    );
    const read = own.map((snapshot) => {
      const source = sourceOf(volumeSource, snapshot);
      return { plan: snapshot.plan, path: devicePath(source), writes: source.writes };
    });
    await requireSameWrites(read, run);
  },
};

/** What a volume group is changed for; undefined when it is not. */
function changeFor(
  written: readonly LvmDisk[],
  inactive: readonly LvmDisk[],
): Pick<GroupChange, 'doing' | 'instead'> | undefined {
  if (written.length + inactive.length === 0) return undefined;
  if (written.length === 0)
    return { doing: `activate the volumes of ${disksInWords(inactive.map(({ plan }) => plan))}` };
  return {
    doing: `make snapshots of ${disksInWords(written.map(({ plan }) => plan))}`,
    instead: 'use --snapshot qemu, which does not change the group',
  };
}

function runningDisk({ plan, volume, path }: LvmDisk): RunningDisk {
  return { plan, place: { path }, virtualSize: volume.bytes, layout: { format: 'raw' } };
}

function snapshotOf(plan: DumpPlan, volume: Volume, name: string): Snapshot<VolumeSource> {
  const { group, bytes } = volume;
  const own = { group, name, virtualSize: bytes };
  const snapshot = volume.thin ? 'thin' : 'thick';
  return {
    plan,
    layout: { format: 'raw' },
    virtualSize: bytes,
    source: name === volume.name ? own : { ...own, snapshot },
  };
}

/**
 * Activates a volume of a VM that is off, for as long as the run lasts. One that other VMs may use stays active, as
 * OpenNebula leaves it (tm_mad/lvm/delete): a VM that is about to start on this machine may have it by then, although
 * it is not open yet.
 */
async function requireActive(
  { plan, volume, isShared }: LvmDisk,
  lvm: Lvm,
  { journal, runner }: Run,
): Promise<void> {
  if (volume.active) return;
  const { group, name } = volume;
  if (!isShared) await journal.record(deactivateVolume.undo({ group, name }), runner.target);
  const doing = `activate the volume ${group}/${name} of ${diskLabel(plan)}`;
  await whileLocked(lvm, volume, doing, () => activate(lvm, volume));
}
