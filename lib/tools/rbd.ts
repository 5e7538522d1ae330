// rbd: images of a Ceph cluster, their snapshots, and their data. Manual page: rbd(8). A key is passed as the
// path of its file, never itself.
import { CommandError } from '../report/errors.ts';
import { list, object } from '../run/json-object.ts';
import { count, parseShape, text, type Shape } from '../run/json-shape.ts';
import type { Command, Runner } from '../run/runner.ts';
import { unexpectedOutput } from '../run/unexpected-output.ts';

/** How OpenNebula reaches a cluster: CEPH_USER, CEPH_KEY (a file) and CEPH_CONF of a DISK. */
export interface CephAccess {
  readonly user?: string;
  readonly keyfile?: string;
  readonly conf?: string;
}

/** A `snap create` that takes this long is given up: the guest waits for it. It takes about 1 s. */
const createLimitMs = 15_000;
/** rbd exits with ENOENT when an image, a snapshot or a pool is missing. */
const enoent = 2;
/** It also exits with ENOENT when the key's file or the monitors' addresses are missing: src/tools/rbd/Utils.cc, init_rados. */
const notConnected = /couldn't (connect to the cluster|initialize rados)/;

const infoShape = object({ size: count() });
const snapshotsShape = list(object({ name: text }));
const watcherList = list(object({ address: text }));
/** A list; up to Ceph 13 an object. */
const watchersShape: typeof watcherList = (value, place) => {
  const isObject = typeof value === 'object' && value !== null;
  return watcherList(isObject ? Object.values(value) : value, place);
};
const statusShape = object({ watchers: watchersShape });

/** A command of rbd, with the options by which OpenNebula's drivers reach the cluster. */
function rbd({ user, keyfile, conf }: CephAccess, ...args: readonly string[]): Command {
  const access = [
    ...(user === undefined ? [] : ['--id', user]),
    ...(keyfile === undefined ? [] : ['--keyfile', keyfile]),
    ...(conf === undefined ? [] : ['--conf', conf]),
  ];
  return { program: 'rbd', args: [...access, ...args] };
}

/**
 * Returns the size of an image in bytes.
 * @param what names it in messages.
 * @throws CommandError with rbd's reason when it is missing or cannot be reached.
 */
export async function imageSize(
  runner: Runner,
  access: CephAccess,
  image: string,
  what: string,
): Promise<number> {
  const doing = `look at ${what}`;
  const command = rbd(access, 'info', '--format', 'json', image);
  return (await answer(runner, command, infoShape, doing)).size;
}

/** Returns the names of an image's snapshots. @throws CommandError */
export async function snapshotNames(
  runner: Runner,
  access: CephAccess,
  image: string,
  what: string,
): Promise<readonly string[]> {
  const doing = `list the snapshots of ${what}`;
  const command = rbd(access, 'snap', 'ls', '--format', 'json', image);
  return (await answer(runner, command, snapshotsShape, doing)).map(({ name }) => name);
}

/**
 * Returns the addresses of the clients that have an image open for writing: QEMU, rbd commands that change it, and
 * those of them that were killed or cut off less than `osd_client_watch_timeout` (half a minute) ago.
 * @throws CommandError; if the image is gone, `isMissing` is true for it
 */
export async function imageClients(
  runner: Runner,
  access: CephAccess,
  image: string,
  what: string,
): Promise<readonly string[]> {
  const doing = `see who has ${what} open`;
  const command = rbd(access, 'status', '--format', 'json', image);
  const { watchers } = await answer(runner, command, statusShape, doing);
  return watchers.map(({ address }) => address);
}

/** Whether rbd failed because the image, or its pool, is not there. */
export function isMissing(error: unknown): boolean {
  return (
    error instanceof CommandError && error.status === enoent && !notConnected.test(error.stderr)
  );
}

/** Returns what a command prints. @throws CommandError, also when the output does not have the shape */
async function answer<T>(
  runner: Runner,
  command: Command,
  shape: Shape<T>,
  doing: string,
): Promise<T> {
  const { stdout } = await runner.run(command, { doing });
  return parseShape(shape, stdout.toString(), (why) =>
    unexpectedOutput('rbd', doing, { stdout, why }),
  );
}

/**
 * Makes a snapshot of an image. A signal does not interrupt it: for an image that QEMU has open, QEMU makes the
 * snapshot, and would continue without rbd.
 * @param what names the image in messages.
 * @throws CommandError with rbd's reason.
 */
export async function createRbdSnapshot(
  runner: Runner,
  access: CephAccess,
  image: string,
  snapshot: string,
  what: string,
): Promise<void> {
  // Without --no-progress, which `snap create` does not know before Ceph 15.
  await runner.run(rbd(access, 'snap', 'create', `${image}@${snapshot}`), {
    doing: `create the snapshot ${snapshot} of ${what}`,
    timeoutMs: createLimitMs,
    uninterrupted: true,
  });
}

/**
 * Removes a snapshot.
 * @param what names the image in messages.
 * @returns whether there was one.
 * @throws CommandError, in particular for a protected one, and when the cluster cannot be reached
 */
export async function removeSnapshot(
  runner: Runner,
  access: CephAccess,
  image: string,
  snapshot: string,
  what: string,
): Promise<boolean> {
  const spec = `${image}@${snapshot}`;
  try {
    await runner.run(rbd(access, 'snap', 'rm', '--no-progress', spec), {
      doing: `remove the snapshot ${snapshot} of ${what}`,
    });
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/**
 * The command that prints, as JSON, the extents of an image or snapshot that were ever written, including those of
 * its parents.
 */
export function diffCommand(access: CephAccess, spec: string): Command {
  return rbd(access, 'diff', '--format', 'json', spec);
}

/** The command that prints the data of these extents, in the format of rbd-diff-stream.ts. */
export function exportDiffCommand(access: CephAccess, spec: string): Command {
  return rbd(access, 'export-diff', '--no-progress', spec, '-');
}
