// The snapshots of a VM's RBD images: made all at once while the guest is held, removed by the undo.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import type { Runner } from '../../run/runner.ts';
import { isRunningWith } from '../../run/processes.ts';
import {
  createRbdSnapshot,
  imageClients,
  isMissing,
  removeSnapshot,
  type CephAccess,
} from '../../tools/rbd.ts';

/** An RBD image, and how it is reached. */
export interface RbdImage {
  /** `<pool>/<image>`. */
  readonly image: string;
  readonly access: CephAccess;
  /** Names it in messages. */
  readonly what: string;
}

/**
 * How often a snapshot is looked for that nobody seems to be making, a second between; and that somebody was making until just
 * now: the monitors and QEMU need some seconds for it.
 */
const looks = { usually: 3, late: 10 };
/** `osd_client_watch_timeout` is 30 s, and nobody changes it. */
const clientsLimits = { pollMs: 1000, limitMs: 40_000 };

/**
 * Waits until nobody has the images open who was cut off: each change of an image is told to all who have it open,
 * and waits for their answers, those of the dead, too, until the cluster gives them up. Without this the guest
 * would be held for that time (30 s were measured), or be let go without a snapshot. Who is still there after that is
 * alive, and answers.
 * @param usual how many have each image open all the time: one for a VM that runs, its QEMU.
 * @throws CommandError, InterruptedError
 */
export async function awaitLostClients(
  images: readonly RbdImage[],
  usual: number,
  { runner, log, signal }: Run,
  { pollMs, limitMs } = clientsLimits,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  const told = new Set<RbdImage>();
  for (let waiting = images; waiting.length > 0;) {
    const crowded: RbdImage[] = [];
    for (const one of waiting) {
      const clients = await imageClients(runner, one.access, one.image, one.what);
      if (clients.length <= usual) continue;
      const others = `${one.what} is open in ${clients.length - usual} more than the VM (${clients.join(', ')})`;
      if (Date.now() >= deadline) {
        log.warn(`${others}: its snapshot may take long`);
        continue;
      }
      if (!told.has(one))
        log.info(`${others}: waiting for up to half a minute, as one may be dead`);
      told.add(one);
      crowded.push(one);
    }
    waiting = crowded;
    if (waiting.length > 0) await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
}

/**
 * Makes the snapshot of each image. At the same time: the monitors hand out snapshot ids about once a
 * second, to all who wait. One after another, each disk would hold the guest for a second more.
 * @throws CommandError of the first that failed, when all have ended.
 */
export async function createSnapshots(
  images: readonly RbdImage[],
  snapshot: string,
  { runner, signal }: Run,
): Promise<void> {
  const results = await Promise.allSettled(
    images.map(({ access, image, what }) =>
      createRbdSnapshot(runner, access, image, snapshot, what),
    ),
  );
  signal.throwIfAborted();
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * For an undo: removes a snapshot of ours. One that is not there may be just being made: the rbd that was to make it
 * still runs; or QEMU makes it, which was told by an rbd that has been killed since, and waits for the answers of all who have the image
 * open, for half a minute at most. Both show: the killed rbd is among the image's clients for as long as that.
 * @throws FailedError when rbd still runs after that time; CommandError
 */
export async function undoSnapshot(
  runner: Runner,
  access: CephAccess,
  image: string,
  snapshot: string,
  what: string,
  { pollMs, limitMs } = clientsLimits,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  for (let left = looks.usually; ;) {
    if (await removeSnapshot(runner, access, image, snapshot, what)) return;
    const inTime = Date.now() < deadline;
    const runs = await isRunningWith(runner, ['rbd'], `${image}@${snapshot}`);
    if (runs && !inTime) {
      throw new FailedError(
        `the snapshot ${snapshot} of ${what} is still being made by rbd on ${runner.where}; run onevmdump cleanup again when it has ended`,
      );
    }
    // Who is still there after that time is alive, and has nothing to do with it.
    if (runs || (inTime && (await isCrowded(runner, access, image, what)))) left = looks.late;
    else if (--left <= 0) return;
    await sleep(pollMs);
  }
}

/** Whether more than QEMU have an image open. */
async function isCrowded(
  runner: Runner,
  access: CephAccess,
  image: string,
  what: string,
): Promise<boolean> {
  try {
    return (await imageClients(runner, access, image, what)).length > 1;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
