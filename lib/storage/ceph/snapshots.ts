// The snapshots of a VM's RBD images: made all at once while the guest is frozen.
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

/** `osd_client_watch_timeout` is 30 s, and nobody changes it. */
export const clientsLimits = { pollMs: 1000, limitMs: 40_000 };

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
