// Checks a VM's logical volumes before they are dumped: nobody may write to the volumes of a VM that is off, we must
// be able to read them, and QEMU must write to the volumes that OpenNebula names.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../report/errors.ts';
import { runsOn } from '../../run/local-host.ts';
import type { Run } from '../../run/run.ts';
import { writesTo } from '../../tools/block-writes.ts';
import {
  devicePath,
  readVolumeGroup,
  type Lvm,
  type Volume,
  type VolumeGroup,
} from '../../tools/lvm.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import { stateName } from '../../vm/states.ts';
import type { Vm } from '../../vm/vm.ts';
import { domainDisks, domainOf, ElsewhereError, requireRunning } from '../../guest/domain.ts';
import { requireSameDisk } from '../../guest/same-disk.ts';
import { volumeSource } from './source.ts';
import { diskLabel, sourceOf, type DumpPlan, type Snapshot } from '../storage.ts';

/** How long a volume of a VM that is off may be open: longer than a program needs that only looks into it. */
const openLimitMs = 5000;
const openPollMs = 500;

export interface LvmDisk {
  readonly plan: DumpPlan;
  readonly volume: Volume;
}

/**
 * Checks that nobody uses the volumes of a VM that is off. udev and other programs only look into a volume briefly. A
 * program that keeps it open may be the guest itself: OpenNebula can be wrong about its state, or somebody started it
 * by hand.
 * @throws FailedError for a volume that stays open
 */
export async function requireClosed(
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
 * are active nowhere (OpenNebula's tm/fs_lvm_ssh/mv deactivates them, 7.0 to 7.4).
 * @throws ElsewhereError for a thin volume that may be active on another machine than this
 */
export async function requirePoolHere(
  vm: Vm,
  disks: readonly LvmDisk[],
  { runner }: Run,
): Promise<void> {
  const found = disks.find(({ volume }) => volume.thin && !volume.active);
  if (!found || stateName(vm.state, vm.lcmState) === 'UNDEPLOYED') return;
  const { plan, volume } = found;
  const host = vm.history?.hostname ?? '';
  if (await runsOn(runner, host)) return;
  throw new ElsewhereError(
    `${diskLabel(plan)} is a thin volume that is not active on ${runner.where}, and on ${host}, where the VM was last, it may be: its pool ${volume.group}/${volume.pool ?? ''} is destroyed when two machines activate it. Export the VM there; or, if the volume is active nowhere, activate it first: lvchange -ay -K ${volume.group}/${volume.name}`,
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
export function warnOfLeftovers(
  disks: readonly LvmDisk[],
  { volumes }: VolumeGroup,
  { log }: Run,
): void {
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
export async function requireSameVolumes(
  vm: Vm,
  disks: readonly LvmDisk[],
  run: Run,
): Promise<void> {
  const domain = domainOf(vm, run);
  await requireRunning(vm, domain);
  const known = await domainDisks(domain);
  for (const { plan, volume } of disks) {
    const place = { path: devicePath(volume) };
    const expected = { label: diskLabel(plan), target: plan.disk.target, format: 'raw' };
    await requireSameDisk({ ...expected, place }, known, run);
  }
}
