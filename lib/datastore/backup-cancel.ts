// Ends a running backup for real: the `prebackup` that still stages, or our `backup` that still writes,
// and waits until it has undone what it did. Both are found by their command lines, which hold the VM's
// place and domain from the first moment on; a journal is there only a little later.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError, hasCode } from '../report/errors.ts';
import { identify, isAlive, type ProcessIdentity } from '../run/process-identity.ts';

const pollMs = 50;
const actions = ['prebackup', 'prebackup_live', 'backup'];

export interface RunningBackup {
  /** `host:folder`, as OpenNebula gives it to every action. */
  readonly place: string;
  readonly deployId: string;
}

/**
 * @param limitMs how long the actions may take to undo what they did
 * @returns how many were ended
 * @throws FailedError when one does not end in time
 */
export async function cancelBackup(backup: RunningBackup, limitMs: number): Promise<number> {
  const found = await findActions(backup);
  for (const { identity, action } of found) {
    if (!(await isAlive(identity))) continue;
    try {
      process.kill(identity.pid, 'SIGTERM');
    } catch (error) {
      if (hasCode(error, 'ESRCH')) continue;
      throw new FailedError(`cannot end ${action} (process ${identity.pid}): ${String(error)}`);
    }
  }
  const deadline = Date.now() + limitMs;
  for (const { identity, action } of found) {
    while (await isAlive(identity)) {
      if (Date.now() > deadline) {
        throw new FailedError(
          `${action} of ${backup.place} (process ${identity.pid}) was told to end, but still runs after ${limitMs / 1000} s`,
        );
      }
      await sleep(pollMs);
    }
  }
  return found.length;
}

async function findActions({ place, deployId }: RunningBackup) {
  const found: { identity: ProcessIdentity; action: string }[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const line = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    // The interpreter, the script, its arguments.
    const [, script = '', ...args] = line.split('\0');
    const action = basename(script);
    if (!actions.includes(action) || !args.includes(place) || !args.includes(deployId)) continue;
    const identity = await identify(Number(pid)).catch(() => undefined);
    if (identity) found.push({ identity, action });
  }
  return found;
}
