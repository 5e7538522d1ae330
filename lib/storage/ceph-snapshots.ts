// The snapshots of a VM's RBD images: made all at once while the guest is held, removed by the undo.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Run } from '../run/run.ts';
import type { Runner } from '../run/runner.ts';
import { createSnapshot, removeSnapshot, type CephAccess } from '../tools/rbd.ts';

/** An RBD image, and how it is reached. */
export interface RbdImage {
  /** `<pool>/<image>`. */
  readonly image: string;
  readonly access: CephAccess;
}

const secondLookMs = 1000;

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
    images.map(({ access, image }) => createSnapshot(runner, access, image, snapshot)),
  );
  signal.throwIfAborted();
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * For an undo: removes a snapshot of ours. One that is not there may be just being made, if the run
 * that wanted it was killed: then it is there a moment later.
 */
export async function undoSnapshot(
  runner: Runner,
  access: CephAccess,
  image: string,
  snapshot: string,
): Promise<void> {
  if (await removeSnapshot(runner, access, image, snapshot)) return;
  await sleep(secondLookMs);
  await removeSnapshot(runner, access, image, snapshot);
}
