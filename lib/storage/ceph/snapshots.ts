// Makes the snapshots of a VM's RBD images, all at the same time, while the guest is frozen or paused.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Run } from '../../run/run.ts';
import { createRbdSnapshot, imageClients, type CephAccess } from '../../tools/rbd.ts';

/** An RBD image, and how it is reached. */
export interface RbdImage {
  /** `<pool>/<image>`. */
  readonly image: string;
  readonly access: CephAccess;
  /** Names it in messages. */
  readonly what: string;
}

/** In milliseconds. `osd_client_watch_timeout` is 30 s, and nobody changes it. */
export const clientsLimits = { pollMs: 1000, limitMs: 40_000 };

/**
 * Waits until no client that was killed or cut off has the images open. Ceph notifies every client that has an image
 * open of each change, and waits for each to answer, dead ones included, until the cluster gives them up. Without
 * this wait, the guest would stay frozen for that time (30 s were measured), or would be thawed without a snapshot. A
 * client that is still there after the wait is alive, and answers.
 * @param usual how many clients always have each image open: for a VM that runs one, its QEMU.
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
 * Makes the snapshot of each image, all at the same time: the monitors hand out snapshot ids about once a second, to
 * all who wait. One after another, each disk would keep the guest frozen for a second more. Four at a time, 24 images took
 * 7 s instead of 3 (docs/decisions/0010-rbd-snapshots-at-once.md).
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
