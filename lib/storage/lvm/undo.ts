// The ways back from what an export does to logical volumes. Each succeeds when there is nothing left to
// undo, and removes nothing but snapshots of ours.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../report/errors.ts';
import type { Runner } from '../../run/runner.ts';
import {
  deactivate,
  lvmOn,
  readVolumeGroup,
  removeVolume,
  type Lvm,
  type Volume,
  type VolumeName,
} from '../../tools/lvm.ts';
import { isRunningWith } from '../../run/processes.ts';
import { object } from '../../run/json-object.ts';
import { text } from '../../run/json-shape.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import { quote } from '../../run/quote.ts';
import { undoKind } from '../../run/undo.ts';
import { whileLocked } from './lock.ts';

/** Whoever had a volume open may still be letting go of it: a server that was ended, udev. */
const busyLimitMs = 10_000;
const pollMs = 250;
const secondLookMs = 1000;
/** An lvcreate waits for others that change the group, and one by sudo is not ended with its connection. */
const programLimitMs = 60_000;

const snapshotFields = object({ group: text, name: text, origin: text });

/** A snapshot of ours of the volume `origin` of the same group; its name begins with `onevmdump-`. */
export const removeSnapshotVolume = undoKind({
  kind: 'remove-snapshot-lv',
  fields: snapshotFields,
  describe: ({ group, name, origin }) =>
    `the snapshot ${group}/${name} of the volume ${origin} may be left; where that is active, or where the VM runs nowhere, remove it with: lvremove -f ${quote(`${group}/${name}`)}`,
  carryOut: (volume, { runnerAt }, on) =>
    undoVolumeSnapshot(runnerAt(on), runnerAt(undefined), volume),
  // The volume group is shared.
  whenMachineIsGone: 'anywhere',
  freesStorage: true,
});

const volumeFields = object({ group: text, name: text });

/** A logical volume that was not active; one that is open by now stays active. */
export const deactivateVolume = undoKind({
  kind: 'deactivate-lv',
  fields: volumeFields,
  describe: ({ group, name }) =>
    `the volume ${group}/${name} is left active; deactivate it with: lvchange -an ${quote(`${group}/${name}`)}`,
  carryOut: (volume, { runnerAt }, on) => undoActivation(runnerAt(on), runnerAt(undefined), volume),
  whenMachineIsGone: 'ended',
  freesStorage: true,
});

/** A snapshot of ours, and the volume that it is of. */
export interface OwnSnapshot extends VolumeName {
  readonly origin: string;
}

/**
 * Removes a snapshot of ours. One that is not there may be just being made, if the run that wanted it was
 * killed, or has lost its host: then its lvcreate is awaited. It is removed only where its origin is active (thin: its
 * pool): on any other machine, LVM would give the extents away into which the kernel of the VM's host goes on writing.
 * @throws FailedError for a volume that is not ours, or that must not be removed here; CommandError when LVM does not
 *   remove it.
 */
export async function undoVolumeSnapshot(
  runner: Runner,
  here: Runner,
  volume: OwnSnapshot,
): Promise<void> {
  const lvm = await lvmOn(runner, here);
  if (!volume.name.startsWith(ownPrefix)) throw notOurs(volume);
  let found = await find(lvm, volume);
  if (!found) {
    await sleep(secondLookMs);
    await programEnds(runner, 'lvcreate', volume.name);
    found = await find(lvm, volume);
  }
  if (!found) return;
  const { volumes } = await readVolumeGroup(lvm, volume.group);
  if (!isKnownToKernel(found, volumes)) throw notHere(volume, found, runner);
  // An lvcreate that was killed half-way leaves a volume that is no snapshot yet, and that nobody uses.
  if (found.origin === undefined && !found.thin && found.open) throw notOurs(volume);
  await whileBusy(
    () =>
      whileLocked(lvm, volume.group, `remove the snapshot ${volume.name} of ${volume.origin}`, () =>
        removeVolume(lvm, volume),
      ),
    async () => (await find(lvm, volume)) === undefined,
  );
}

/** Whether the kernel of this machine knows of the snapshot, so that it takes note of its removal. */
function isKnownToKernel(
  { active, thin, pool, origin }: Volume,
  volumes: ReadonlyMap<string, Volume>,
): boolean {
  if (thin) {
    const found = volumes.get(pool ?? '');
    // A pool that is only used by its volumes is not active itself; how full it is, only a pool that is in use says.
    return active || found?.active === true || found?.dataPercent !== undefined;
  }
  // What an lvcreate left half-way is not a snapshot yet: no kernel writes into it.
  return origin === undefined || volumes.get(origin)?.active === true;
}

function notHere({ group, name, origin }: OwnSnapshot, found: Volume, runner: Runner): FailedError {
  const base = found.thin ? `its thin pool ${group}/${found.pool ?? ''}` : `${group}/${origin}`;
  return new FailedError(
    `the snapshot ${group}/${name} of the volume ${origin} is left alone: ${base} is not active on ${runner.where}, and the VM may run on another host, which would go on writing into it`,
  );
}

/**
 * Waits for an LVM program that has `argument` in its command line.
 * @throws FailedError when it still runs after all that time.
 */
async function programEnds(runner: Runner, program: string, argument: string): Promise<void> {
  const deadline = performance.now() + programLimitMs;
  while (await isRunningWith(runner, [program, 'sudo'], argument)) {
    if (performance.now() > deadline) throw new FailedError(`${program} of ${argument} still runs`);
    await sleep(pollMs);
  }
}

/**
 * Deactivates a volume that we activated, unless somebody uses it by now: the VM may have been started. One that is not
 * active may be just being activated, likewise.
 */
export async function undoActivation(
  runner: Runner,
  here: Runner,
  volume: VolumeName,
): Promise<void> {
  const lvm = await lvmOn(runner, here);
  const settled = async (): Promise<boolean> => {
    const found = await find(lvm, volume);
    return !found?.active || found.open;
  };
  if (await settled()) {
    await programEnds(runner, 'lvchange', `${volume.group}/${volume.name}`);
    if (await settled()) return;
  }
  const doing = `deactivate the volume ${volume.group}/${volume.name}`;
  await whileBusy(
    () => whileLocked(lvm, volume.group, doing, () => deactivate(lvm, volume)),
    settled,
  );
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
