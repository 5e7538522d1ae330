// The kinds of undo for what an export does to logical volumes. Each succeeds when there is nothing left to undo, and
// removes only our snapshots.
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

/** How long a program that had a volume open may take to close it: a server that was ended, or udev. */
const busyLimitMs = 10_000;
const pollMs = 250;
const secondLookMs = 1000;
/**
 * How long an LVM program may still run: an lvcreate waits for others that change the group, and one that sudo
 * started does not end with its connection.
 */
const programLimitMs = 60_000;

const snapshotFields = object({ group: text, name: text, origin: text });

/** Removes our snapshot of the volume `origin` in the same group. The snapshot's name begins with `onevmdump-`. */
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

/** Deactivates a logical volume that was not active. If it is open by now, it stays active. */
export const deactivateVolume = undoKind({
  kind: 'deactivate-lv',
  fields: volumeFields,
  describe: ({ group, name }) =>
    `the volume ${group}/${name} is left active; deactivate it with: lvchange -an ${quote(`${group}/${name}`)}`,
  carryOut: (volume, { runnerAt }, on) => undoActivation(runnerAt(on), runnerAt(undefined), volume),
  whenMachineIsGone: 'ended',
  freesStorage: true,
});

/** One of our snapshots, and the volume from which it was made. */
export interface OwnSnapshot extends VolumeName {
  readonly origin: string;
}

/**
 * Removes our snapshot. If it does not exist, an lvcreate may still be making it, because the run that wanted it was
 * killed or has lost its host: then we wait for that lvcreate. The snapshot is removed only where its origin (thin:
 * its pool) is active: on any other machine, LVM would give away extents into which the kernel of the VM's host keeps
 * writing.
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
  // An lvcreate that was killed half-way leaves a volume that is not a snapshot yet, and that nobody uses.
  if (found.origin === undefined && !found.thin && found.open) throw notOurs(volume);
  await whileBusy(
    () =>
      whileLocked(
        lvm,
        { group: volume.group, name: volume.origin },
        `remove the snapshot ${volume.name} of ${volume.origin}`,
        () => removeVolume(lvm, volume),
      ),
    async () => (await find(lvm, volume)) === undefined,
  );
}

/** Whether this machine's kernel knows the snapshot, so that it notices the removal. */
function isKnownToKernel(
  { active, thin, pool, origin }: Volume,
  volumes: ReadonlyMap<string, Volume>,
): boolean {
  if (thin) {
    const found = volumes.get(pool ?? '');
    // A pool that is used only by its volumes is not active itself. But LVM reports how full it is only if it is in
    // use.
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
 * Waits until no LVM program with `argument` in its command line runs.
 * @throws FailedError when one still runs after the time limit.
 */
async function programEnds(runner: Runner, program: string, argument: string): Promise<void> {
  const deadline = performance.now() + programLimitMs;
  while (await isRunningWith(runner, [program, 'sudo'], argument)) {
    if (performance.now() > deadline) throw new FailedError(`${program} of ${argument} still runs`);
    await sleep(pollMs);
  }
}

/**
 * Deactivates a volume that we activated, unless somebody uses it by now: the VM may have been started. If it is not
 * active, an lvchange may still be activating it: then we wait for that lvchange.
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
  await whileBusy(() => whileLocked(lvm, volume, doing, () => deactivate(lvm, volume)), settled);
}

async function find(lvm: Lvm, { group, name }: VolumeName): Promise<Volume | undefined> {
  return (await readVolumeGroup(lvm, group)).volumes.get(name);
}

/** Repeats `act` until it succeeds, or until `settled` says that it is no longer needed. @throws its last error. */
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
