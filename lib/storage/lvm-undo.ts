// The ways back from what an export does to logical volumes. Each succeeds when there is nothing left to
// undo, and removes nothing but snapshots of ours.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../report/errors.ts';
import type { Runner } from '../run/runner.ts';
import {
  deactivate,
  lvmOn,
  readVolumeGroup,
  removeVolume,
  type Lvm,
  type Volume,
  type VolumeName,
} from '../tools/lvm.ts';
import { isRunningWith } from '../tools/processes.ts';
import { ownPrefix } from '../vm/names.ts';

/** Whoever had a volume open may still be letting go of it: a server that was ended, udev. */
const busyLimitMs = 10_000;
const pollMs = 250;
const secondLookMs = 1000;
/** An lvcreate waits for others that change the group, and one by sudo is not ended with its connection. */
const makerLimitMs = 60_000;

/**
 * Removes a snapshot of ours. One that is not there may be just being made, if the run that wanted it was
 * killed, or has lost its host: then its lvcreate is awaited.
 * @throws FailedError for a volume that is none of ours; CommandError when LVM does not remove it.
 */
export async function undoVolumeSnapshot(runner: Runner, volume: VolumeName): Promise<void> {
  const lvm = await lvmOn(runner);
  if (!volume.name.startsWith(ownPrefix)) throw notOurs(volume);
  let found = await find(lvm, volume);
  if (!found) {
    await sleep(secondLookMs);
    await makerEnds(runner, volume);
    found = await find(lvm, volume);
  }
  if (!found) return;
  // An lvcreate that was killed half-way leaves a volume that is no snapshot yet, and that nobody uses.
  if (found.origin === undefined && !found.thin && found.open) throw notOurs(volume);
  await whileBusy(
    () => removeVolume(lvm, volume),
    async () => (await find(lvm, volume)) === undefined,
  );
}

/** @throws FailedError when the volume is still being made after all that time. */
async function makerEnds(runner: Runner, { group, name }: VolumeName): Promise<void> {
  const deadline = performance.now() + makerLimitMs;
  while (await isRunningWith(runner, ['lvcreate', 'sudo'], name)) {
    if (performance.now() > deadline) {
      throw new FailedError(`the snapshot ${group}/${name} is still being made by lvcreate`);
    }
    await sleep(pollMs);
  }
}

/** Deactivates a volume that we activated, unless somebody uses it by now: the VM may have been started. */
export async function undoActivation(runner: Runner, volume: VolumeName): Promise<void> {
  const lvm = await lvmOn(runner);
  const settled = async (): Promise<boolean> => {
    const found = await find(lvm, volume);
    return !found?.active || found.open;
  };
  if (await settled()) return;
  await whileBusy(() => deactivate(lvm, volume), settled);
}

async function find(lvm: Lvm, { group, name }: VolumeName): Promise<Volume | undefined> {
  return (await readVolumeGroup(lvm, group)).volumes.get(name);
}

/** Tries again as long as it fails and is not settled otherwise. @throws its last error. */
async function whileBusy(act: () => Promise<void>, settled: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + busyLimitMs;
  for (;;) {
    try {
      await act();
      return;
    } catch (error) {
      if (await settled()) return;
      if (performance.now() > deadline) throw error;
    }
    await sleep(pollMs);
  }
}

function notOurs({ group, name }: VolumeName): FailedError {
  return new FailedError(`the volume ${group}/${name} was not made by onevmdump`);
}
