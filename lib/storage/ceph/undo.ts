// The kind of undo for a snapshot of an RBD image. It succeeds when our snapshot does not exist.
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
 * How often a missing snapshot is looked for, once a second. `usually`: nobody seems to be making it. `late`:
 * somebody was making it until just now, and the monitors and QEMU need some seconds for it.
 */
const looks = { usually: 3, late: 10 };

const fields = object({
  image: text,
  snapshot: text,
  /** Names the disk in messages: `disk 0 of VM 7`. */
  disk: text,
  access: accessShape,
});

/** Removes the snapshot of an RBD image (`<pool>/<image>`). The snapshot's name begins with `onevmdump-`. */
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
 * For an undo: removes our snapshot. If it does not exist, it may still be about to exist. Either the rbd that makes
 * it still runs. Or that rbd was killed after it had asked QEMU for the snapshot, and QEMU waits, for half a minute
 * at most, for the answers of all clients that have the image open. Both can be detected: for that time, the killed
 * rbd is still one of the image's clients.
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
    // A client that is still there after that time is alive, and is not making our snapshot.
    if (runs || (inTime && (await isCrowded(runner, access, image, what)))) left = looks.late;
    else if (--left <= 0) return;
    await sleep(pollMs);
  }
}

/** Whether an image is open in more than one client, which may be QEMU. */
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
