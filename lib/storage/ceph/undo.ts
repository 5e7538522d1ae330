// The way back from a snapshot of an RBD image. It succeeds when there is no snapshot of ours.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../../report/errors.ts';
import { object } from '../../run/json-object.ts';
import { text } from '../../run/json-shape.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import { isRunningWith } from '../../run/processes.ts';
import { quote } from '../../run/quote.ts';
import type { Runner } from '../../run/runner.ts';
import { undoKind } from '../../run/undo.ts';
import { imageClients, isMissing, removeSnapshot, type CephAccess } from '../../tools/rbd.ts';
import { accessShape } from './source.ts';
import { clientsLimits } from './snapshots.ts';

/**
 * How often a snapshot is looked for that nobody seems to be making, a second between; and that somebody was making until just
 * now: the monitors and QEMU need some seconds for it.
 */
const looks = { usually: 3, late: 10 };

const fields = object({
  image: text,
  snapshot: text,
  /** Names it in messages: `disk 0 of VM 7`. */
  disk: text,
  access: accessShape,
});

/** The snapshot of an RBD image (`<pool>/<image>`); its name begins with `onevmdump-`. */
export const removeRbdSnapshot = undoKind({
  kind: 'remove-rbd-snapshot',
  fields: fields,
  describe: ({ image, snapshot, disk, access }) =>
    `the snapshot ${image}@${snapshot} of ${disk} may be left; remove it with: ${rbd(access)} snap rm ${quote(`${image}@${snapshot}`)}`,
  async carryOut({ image, snapshot, disk, access }, { runnerAt }, on) {
    if (!snapshot.startsWith(ownPrefix)) {
      throw new FailedError(`the snapshot ${image}@${snapshot} was not made by onevmdump`);
    }
    await undoSnapshot(runnerAt(on), access, image, snapshot, `${disk} (${image})`);
  },
  whenMachineIsGone: 'anywhere',
  freesStorage: true,
});

function rbd({ user, keyfile, conf }: CephAccess): string {
  const options = { '--id': user, '--keyfile': keyfile, '--conf': conf };
  const words = Object.entries(options).flatMap(([option, value]) =>
    value === undefined ? [] : [option, quote(value)],
  );
  return ['rbd', ...words].join(' ');
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
