// Checks a VM's logical volumes before they are dumped: nobody may write to the volumes of a VM that is off, we must
// be able to read them, and QEMU must write to the volumes that OpenNebula names.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../report/errors.ts';
import { runsOn } from '../../run/local-host.ts';
import type { Run } from '../../run/run.ts';
import { writesTo } from '../../tools/block-writes.ts';
import { devicePath, readVolumeGroup, type Lvm } from '../../tools/lvm.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import { stateName } from '../../vm/states.ts';
import { isReadOnly, type Vm } from '../../vm/vm.ts';
import { ElsewhereError } from '../../guest/domain.ts';
import { volumeSource } from './source.ts';
import type { GroupOfDisks, LvmDisk } from './volumes.ts';
import { diskLabel, sourceOf, type Snapshot } from '../storage.ts';

/** How long a volume of a VM that is off may be open: longer than a program needs that only looks into it. */
const openLimitMs = 5000;
const openPollMs = 500;

/**
 * Checks that nobody uses the volumes of a VM that is off. udev and other programs only look into a volume briefly. A
 * program that keeps it open may be the guest itself: OpenNebula can be wrong about its state, or somebody started it
 * by hand. A read-only image that other VMs may use can be open, since nobody writes to it.
 * @throws FailedError for a volume that stays open
 */
export async function requireClosed(
  disks: readonly LvmDisk[],
  lvm: Lvm,
  { runner, signal }: Run,
): Promise<void> {
  const deadline = performance.now() + openLimitMs;
  const opened = disks.filter(
    (one) => one.volume.open && !(one.isShared && isReadOnly(one.plan.disk)),
  );
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

/**
 * Checks that nothing was written to the volumes that were read without a snapshot. This also detects a guest that
 * ran and was shut down again meanwhile, because a boot always writes.
 * @throws FailedError for a volume that was written to, through its machine, since its counters were noted
 */
export async function requireSameWrites(
  snapshots: readonly Snapshot[],
  { runner }: Run,
): Promise<void> {
  for (const snapshot of snapshots) {
    const { plan } = snapshot;
    const source = sourceOf(volumeSource, snapshot);
    if (source.writes === undefined) continue;
    const path = devicePath(source);
    if ((await writesTo(runner, path)) === source.writes) continue;
    throw new FailedError(
      `${diskLabel(plan)} was written to while it was being read: ${path} on ${runner.where}. Its guest may have run, although the VM was ${stateName(plan.vm.state, plan.vm.lcmState)}; export it again`,
    );
  }
}

/**
 * Checks that no thin volume may be active on another machine. A thin pool may be active on one machine only: a
 * second one that changes its metadata destroys it, and LVM does not see what is active on other machines. A VM that
 * is powered off keeps its volumes active on its host, unless the host was rebooted. The volumes of an undeployed VM
 * are active nowhere (OpenNebula's tm_mad/fs_lvm_ssh/mv deactivates them, 7.0 to 7.4, and tm_mad/lvm/mv, 7.4). An
 * image that other VMs may use can be active on any machine, whatever this VM does.
 * @throws ElsewhereError for a thin volume that may be active on another machine than this
 */
export async function requirePoolHere(
  vm: Vm,
  disks: readonly LvmDisk[],
  { runner }: Run,
): Promise<void> {
  const host = vm.history?.hostname ?? '';
  const isHere = stateName(vm.state, vm.lcmState) === 'UNDEPLOYED' || (await runsOn(runner, host));
  const found = disks.find(
    ({ volume, isShared }) => volume.thin && !volume.active && (isShared || !isHere),
  );
  if (!found) return;
  const { plan, volume, isShared } = found;
  const where = isShared
    ? 'on the machines of other VMs that use it'
    : `on ${host}, where the VM was last,`;
  throw new ElsewhereError(
    `${diskLabel(plan)} is a thin volume that is not active on ${runner.where}, and ${where} it may be: its pool ${volume.group}/${volume.pool ?? ''} is destroyed when two machines activate it. Export the VM there; or, if the volume is active nowhere, activate it first: lvchange -ay -K ${volume.group}/${volume.name}`,
  );
}

/** @throws FailedError when we may not read the devices. */
export async function requireReadable(disks: readonly LvmDisk[], { runner }: Run): Promise<void> {
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

/**
 * Warns of snapshots that other exports made of these volumes, because they cost the guest time and the volume group
 * room.
 */
export function warnOfLeftovers({ disks, group: { volumes } }: GroupOfDisks, { log }: Run): void {
  for (const { plan, volume } of disks) {
    for (const { name, origin, group } of volumes.values()) {
      if (origin !== volume.name || !name.startsWith(ownPrefix)) continue;
      log.warn(
        `${diskLabel(plan)} has the snapshot ${name} of another export: it still runs, or it was killed and could not be cleaned up after; then remove it with: lvremove -f ${group}/${name}`,
      );
    }
  }
}

/** Warns of disks to which other VMs may write at any time: for them there is no point in time. */
export function warnOfSharing(disks: readonly LvmDisk[], { log }: Run): void {
  for (const one of disks.filter((disk) => disk.isShared && !isReadOnly(disk.plan.disk))) {
    log.warn(
      `${diskLabel(one.plan)} is shareable: if other VMs write to it meanwhile, what is read is of no single point in time`,
    );
  }
}

/**
 * A snapshot is made by the kernel of one machine, and does not notice what others write to its origin.
 * @throws FailedError for a disk to which other VMs may write
 */
export function requireAlone(disks: readonly LvmDisk[]): void {
  const shared = disks.find(({ isShared }) => isShared);
  if (!shared) return;
  throw new FailedError(
    `cannot make a snapshot of ${diskLabel(shared.plan)}: it is shareable, and a snapshot does not notice what VMs on other machines write to it; use --snapshot qemu`,
  );
}
