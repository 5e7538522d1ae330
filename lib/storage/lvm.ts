// Disks that are logical volumes: TM fs_lvm and fs_lvm_ssh. Every DISK of such a VM is one, images,
// CD-ROMs and volatile disks. What is run, and why, is documented in docs/storage-lvm.md.
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskFormat } from '../bundle/manifest.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import { FailedError, OnevmdumpError, UnsupportedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import type { DriverLock } from '../tools/driver-lock.ts';
import { realPaths } from '../tools/file-facts.ts';
import {
  activate,
  createSnapshots,
  devicePath,
  lvmOn,
  readVolumeGroup,
  type Lvm,
  type Volume,
  type VolumeGroup,
} from '../tools/lvm.ts';
import { diskVolume, ownPrefix, volumeGroup, volumeSnapshot } from '../vm/names.ts';
import { activityOf, stateName } from '../vm/states.ts';
import { isCdrom, type Disk, type Vm } from '../vm/vm.ts';
import { domainDisks, domainOf, isRunning, requireRunning } from './domain.ts';
import { lockGroup, whileLocked } from './lvm-lock.ts';
import { openVolume } from './lvm-reader.ts';
import { requireRoom, snapshotExtents } from './lvm-room.ts';
import {
  diskLabel,
  type DumpPlan,
  type Prepared,
  type Snapshot,
  type StorageModule,
} from './storage.ts';

/** How long a volume of a VM that is off may be open: longer than who only looks what is on it. */
const openLimitMs = 5000;
const openPollMs = 500;

export const lvmStorage: StorageModule = {
  plan(vm: Vm, disk: Disk, format: DiskFormat): DumpPlan {
    const what = `disk ${disk.id} of VM ${vm.id}`;
    if (!activityOf(vm.state, vm.lcmState)) {
      throw new UnsupportedError(
        `${what} is a logical volume, which cannot be dumped in state ${stateName(vm.state, vm.lcmState)}`,
      );
    }
    if (format !== 'raw') {
      throw new UnsupportedError(
        `${what} is a logical volume, which is raw, but declared as ${format}`,
      );
    }
    groupOf(vm);
    return { vm, disk, format };
  },

  async prepare(plans: readonly DumpPlan[], run: Run): Promise<Prepared> {
    const [first] = plans;
    if (!first) return { instant: 'given', snapshot: () => Promise.resolve([]) };
    const { vm } = first;
    const lvm = await lvmOn(run.runner, run.runnerAt(undefined));
    const group = await readVolumeGroup(lvm, groupOf(vm)).catch((error: unknown) => {
      if (error instanceof OnevmdumpError) error.message += `; it is to have ${inWords(plans)}`;
      throw error;
    });
    const disks = plans.map((plan) => ({ plan, volume: volumeOf(plan, group, run) }));
    // A CD-ROM is written to by nobody, also while the VM runs.
    const written = disks.filter(({ plan }) => isRunning(vm) && !isCdrom(plan.disk));
    const unwritten = disks.filter((disk) => !written.includes(disk));

    if (!isRunning(vm)) await requireClosed(disks, lvm, run);
    for (const disk of unwritten) await requireActive(disk, lvm, run);
    await requireReadable(disks, run);
    warnOfLeftovers(disks, group, run);
    const given = unwritten.map(({ plan, volume }) => snapshotOf(plan, volume, volume.name));
    if (written.length === 0) return { instant: 'given', snapshot: () => Promise.resolve(given) };

    await requireSameVolumes(vm, written, run);
    const volumes = written.map(({ volume }) => volume);
    requireRoom(volumes, group, run.lvmSnapshot);
    const { journal, runner } = run;
    const named = written.map(({ plan, volume }) => {
      const extents = volume.thin ? undefined : snapshotExtents(volume, group, run.lvmSnapshot);
      const name = volumeSnapshot(journal.runId, plan.disk.id);
      return { plan, volume, origin: volume, extents, name, label: diskLabel(plan) };
    });
    for (const { name, volume } of named) {
      const at = { group: group.name, name, origin: volume.name };
      const undo = { kind: 'remove-snapshot-lv', ...at } as const;
      await journal.record(undo, runner.target);
    }
    let lock: DriverLock | undefined;
    const release = async (): Promise<void> => lock?.release();
    return {
      instant: written.length === 1 ? 'together' : 'apart',
      async claim() {
        lock = await lockGroup(lvm, group.name, `make snapshots of ${inWords(plans)}`, run.signal);
        return release;
      },
      snapshot: async () => {
        try {
          await createSnapshots(lvm, named);
        } finally {
          // The guest does not wait for that.
          void release();
        }
        return [...named.map(({ plan, volume, name }) => snapshotOf(plan, volume, name)), ...given];
      },
    };
  },

  async open({ plan, source }: Snapshot, run: Run): Promise<DiskReader> {
    if (source.kind !== 'volume') throw new Error(`${diskLabel(plan)} is no logical volume`);
    return await openVolume(plan, source, run);
  },
};

/** "disk 0 and disk 1 of VM 7". */
function inWords(plans: readonly DumpPlan[]): string {
  const disks = plans.map(({ disk }) => `disk ${disk.id}`);
  return `${disks.join(' and ')} of VM ${plans[0]?.vm.id ?? ''}`;
}

interface LvmDisk {
  readonly plan: DumpPlan;
  readonly volume: Volume;
}

/** The volume group of the VM's system datastore. @throws UnsupportedError for a VM that never ran. */
function groupOf(vm: Vm): string {
  if (vm.history) return volumeGroup(vm.history.datastoreId);
  throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
}

/** @throws FailedError when it is missing, or is not active although the VM runs. */
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

function snapshotOf(plan: DumpPlan, volume: Volume, name: string): Snapshot {
  const { group, bytes } = volume;
  const own = { kind: 'volume', group, name, virtualSize: bytes } as const;
  const snapshot = volume.thin ? 'thin' : 'thick';
  return {
    plan,
    layout: { format: 'raw' },
    source: name === volume.name ? own : { ...own, snapshot },
  };
}

/**
 * A volume of a VM that is off is in use by nobody; udev and others only look into one for a moment. Who else
 * has it open may be the guest itself: OpenNebula can be wrong about its state, or it was started by hand.
 * @throws FailedError for a volume that stays open
 */
async function requireClosed(
  disks: readonly LvmDisk[],
  lvm: Lvm,
  { runner, signal }: Run,
): Promise<void> {
  const deadline = performance.now() + openLimitMs;
  const opened = disks.filter(({ volume }) => volume.open);
  while (opened.length > 0) {
    await sleep(openPollMs, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
    for (const one of [...opened]) {
      const { plan, volume } = one;
      const now = (await readVolumeGroup(lvm, volume.group)).volumes.get(volume.name);
      if (!now?.open) opened.splice(opened.indexOf(one), 1);
      else if (performance.now() > deadline) {
        const { vm } = plan;
        throw new FailedError(
          `${diskLabel(plan)} is in use, although the VM is ${stateName(vm.state, vm.lcmState)}: ${devicePath(volume)} is open on ${runner.where}. Its guest may be running in spite of that; see who has it open: fuser -v ${devicePath(volume)}`,
        );
      }
    }
  }
}

/** A volume of a VM that is off is not active as a rule; it gets so for as long as the run lasts. */
async function requireActive(
  { plan, volume }: LvmDisk,
  lvm: Lvm,
  { journal, runner }: Run,
): Promise<void> {
  if (volume.active) return;
  const { group, name } = volume;
  await journal.record({ kind: 'deactivate-lv', group, name }, runner.target);
  const doing = `activate the volume ${group}/${name} of ${diskLabel(plan)}`;
  await whileLocked(lvm, group, doing, () => activate(lvm, volume));
}

/** @throws FailedError when we may not read the devices. */
async function requireReadable(disks: readonly LvmDisk[], { runner }: Run): Promise<void> {
  for (const { plan, volume } of disks) {
    const path = devicePath(volume);
    const doing = `look at ${path}`;
    const { status } = await runner.run(
      { program: 'test', args: ['-r', path] },
      { doing, acceptStatus: [1] },
    );
    if (status === 0) continue;
    throw new FailedError(
      `cannot read ${diskLabel(plan)}: ${path} is not there, or this user may not read it; on hosts of OpenNebula oneadmin is in the group disk`,
    );
  }
}

/** Snapshots of ours that nobody's journal tells of cost the guest time, and the volume group room. */
function warnOfLeftovers(disks: readonly LvmDisk[], { volumes }: VolumeGroup, { log }: Run): void {
  for (const { plan, volume } of disks) {
    for (const { name, origin, group } of volumes.values()) {
      if (origin !== volume.name || !name.startsWith(ownPrefix)) continue;
      log.warn(
        `${diskLabel(plan)} has the snapshot ${name} of another export: it still runs, or it was killed and could not be cleaned up after; then remove it with: lvremove -f ${group}/${name}`,
      );
    }
  }
}

/** @throws FailedError when QEMU writes to other volumes than those that OpenNebula names. */
async function requireSameVolumes(vm: Vm, disks: readonly LvmDisk[], run: Run): Promise<void> {
  const domain = domainOf(vm, run);
  await requireRunning(vm, domain);
  const known = await domainDisks(domain);
  for (const { plan, volume } of disks) {
    const { target } = plan.disk;
    const found = target === undefined ? undefined : known.get(target);
    const what = `${diskLabel(plan)} (${target ?? 'without a TARGET'})`;
    if (!found) throw new FailedError(`${what} is unknown to libvirt`);
    if (found.busy) {
      throw new FailedError(`${what} is being copied or merged by libvirt; try again later`);
    }
    // OpenNebula gives libvirt the link in the VM's folder, and names it as a file or as a device.
    const there = found.device ?? found.file;
    const path = devicePath(volume);
    // Neither is listed when it does not exist.
    const [one, other] = there === undefined ? [] : await realPaths(run.runner, [path, there]);
    if (there === undefined || other === undefined || one !== other) {
      throw new FailedError(
        `${what} is ${path} for OpenNebula, but ${there ?? `a disk of the type ${found.type}`} for libvirt`,
      );
    }
    if (found.format !== 'raw') {
      throw new FailedError(
        `${what} is declared as raw, but libvirt uses it as ${found.format ?? 'nothing'}`,
      );
    }
  }
}
