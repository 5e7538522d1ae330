// Checks that the storages have in common whose disks are block devices: logical volumes and plain devices. Nobody may
// write to the devices of a VM that is off.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { writesTo } from '../tools/block-writes.ts';
import { stateName } from '../vm/states.ts';
import { diskLabel, type DumpPlan } from './storage.ts';

/** How long a device of a VM that is off may be open: longer than a program needs that only looks into it. */
const openLimitMs = 5000;
const openPollMs = 500;

/** A disk and its device. */
export interface DeviceOfDisk {
  readonly plan: DumpPlan;
  readonly path: string;
}

/**
 * Checks that nobody uses the devices of a VM that is off. udev and other programs only look into a device briefly. A
 * program that keeps it open may be the guest itself: OpenNebula can be wrong about its state, or somebody started it
 * by hand.
 * @param used the disks that are in use now
 * @param look says how a disk is used, such as `open`; undefined when it no longer is
 * @throws FailedError for a device that stays in use
 */
export async function requireUnused<Disk extends DeviceOfDisk>(
  used: readonly Disk[],
  look: (disk: Disk) => Promise<string | undefined>,
  { runner, signal }: Run,
): Promise<void> {
  const deadline = performance.now() + openLimitMs;
  const left = [...used];
  while (left.length > 0) {
    await sleep(openPollMs, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
    for (const one of [...left]) {
      const how = await look(one);
      if (how === undefined) left.splice(left.indexOf(one), 1);
      else if (performance.now() > deadline) {
        const { plan, path } = one;
        const { vm } = plan;
        throw new FailedError(
          `${diskLabel(plan)} is in use, although the VM is ${stateName(vm.state, vm.lcmState)}: ${path} is ${how} on ${runner.where}. Its guest may be running in spite of that; see who has it open: fuser -v ${path}`,
        );
      }
    }
  }
}

/**
 * Checks that nothing was written to devices that were read without a snapshot. This also detects a guest that ran and
 * was shut down again meanwhile, because a boot always writes.
 * @param disks `writes` is what `writesTo` returned before the device was read
 * @throws FailedError for a device that was written to, through its machine, since its counters were noted
 */
export async function requireSameWrites(
  disks: readonly (DeviceOfDisk & { readonly writes: string | undefined })[],
  { runner }: Run,
): Promise<void> {
  for (const { plan, path, writes } of disks) {
    if (writes === undefined || (await writesTo(runner, path)) === writes) continue;
    throw new FailedError(
      `${diskLabel(plan)} was written to while it was being read: ${path} on ${runner.where}. Its guest may have run, although the VM was ${stateName(plan.vm.state, plan.vm.lcmState)}; export it again`,
    );
  }
}

/** @throws FailedError when we may not read a device. */
export async function requireReadable(
  disks: readonly DeviceOfDisk[],
  { runner }: Run,
): Promise<void> {
  for (const { plan, path } of disks) {
    const { status } = await runner.run(
      { program: 'test', args: ['-r', path] },
      { doing: `look at ${path}`, acceptStatus: [1] },
    );
    if (status === 0) continue;
    throw new FailedError(
      `cannot read ${diskLabel(plan)}: ${path} is not there, or this user may not read it; on hosts of OpenNebula oneadmin is in the group disk`,
    );
  }
}
