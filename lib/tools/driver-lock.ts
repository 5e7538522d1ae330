// OpenNebula's own lock files, by which its drivers exclude each other on one machine: flock(1) on a file in
// /var/lock/one, waiting up to 120 seconds (`exclusive` in src/mad/sh/scripts_common.sh, 6.4 to 7.4;
// src/datastore_mad/remotes/lvm.rb, 7.4). A process that ends when its stdin is closed holds the lock, so the lock never
// outlives us.
import { FailedError } from '../report/errors.ts';
import type { PipedService, Runner } from '../run/runner.ts';

const lockFolder = '/var/lock/one';
/** As long as OpenNebula's drivers wait. */
export const driverLockSeconds = 120;
/** flock exits with this when it did not get the lock in time. */
const notInTime = 1;

// If the folder is missing, no driver of OpenNebula has run. A new file must belong to the folder's owner, or
// OpenNebula could not open what root makes here. It gets its name only after its owner is set, and it replaces
// nothing.
const lockScript = `
folder=$1 file=$1/$2
if ! [ -d "$folder" ]; then
  echo none
  exit
fi
if ! [ -e "$file" ]; then
  new=$(mktemp -- "$file.XXXXXX") || exit
  chown -h --reference="$folder" -- "$new"
  ln -- "$new" "$file" 2>/dev/null
  rm -f -- "$new"
fi
exec flock --wait "$3" "$file" sh -c 'echo locked; exec cat >/dev/null'`;

export interface DriverLock {
  /** Never rejects. */
  release(): Promise<void>;
}

export interface DriverLockOptions {
  /** For messages: what the lock is needed for. */
  readonly doing: string;
  /** Aborting it ends the waiting. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the lock; by default as long as OpenNebula's drivers. */
  readonly waitSeconds?: number;
  readonly folder?: string;
}

/** Another program holds the lock. */
export class LockHeldError extends FailedError {}

/**
 * Takes one of OpenNebula's locks on the runner's machine. Locks nothing if OpenNebula has no folder for locks there.
 * @param name of the lock file.
 * @throws LockHeldError when it is not free in time; FailedError when it cannot be opened; the signal's reason;
 *   ConnectionError
 */
export async function takeDriverLock(
  runner: Runner,
  name: string,
  { doing, signal, waitSeconds = driverLockSeconds, folder = lockFolder }: DriverLockOptions,
): Promise<DriverLock> {
  const path = `${folder}/${name}`;
  const args = ['-c', lockScript, 'sh', folder, name, String(waitSeconds)];
  const service = await runner.startPiped({ program: 'sh', args });
  const stop = (): void => void service.stop();
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  const said = await firstWord(service);
  signal?.removeEventListener('abort', stop);
  if (said === 'locked') return { release: () => end(service) };
  const { status, stderr, lost } = await service.ended;
  service.stdin.destroy();
  signal?.throwIfAborted();
  if (lost) throw lost;
  if (said === 'none' && status === 0) return { release: () => Promise.resolve() };
  const what = `cannot ${doing}: OpenNebula's lock ${path} on ${runner.where}`;
  if (status === notInTime && stderr === '') {
    throw new LockHeldError(
      `${what} is held by another program, and was not free in time; see who it is: fuser -v ${path}`,
    );
  }
  throw new FailedError(`${what} cannot be taken: ${stderr || `exit status ${status ?? '?'}`}`);
}

/** Returns the first line on stdout, and drops the rest. Empty when the program ended without one. */
async function firstWord({ stdout }: PipedService): Promise<string> {
  return await new Promise((resolve) => {
    let text = '';
    stdout.on('data', (data: Buffer) => {
      if (text.includes('\n')) return;
      text += data.toString();
      if (text.includes('\n')) resolve(text.trim());
    });
    const over = (): void => resolve(text.trim());
    stdout.once('end', over).once('close', over).once('error', over);
  });
}

async function end(service: PipedService): Promise<void> {
  service.stdin.on('error', () => undefined);
  service.stdin.end();
  await service.ended;
}
