// Ends a running backup for real: the `prebackup` that still stages, or our `backup` that still writes,
// and waits until it has undone what it did. Both are found by their command lines, which hold the VM's
// place and domain from the first moment on; a journal is there only a little later.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError, hasCode } from '../report/errors.ts';
import { identify, stateOf, type ProcessIdentity } from '../run/process-identity.ts';

const pollMs = 50;
/** So long no action may be seen before the backup counts as ended: a busy oned takes its time to start the next. */
const quietMs = 5000;
const lastToEnd = 'backup';
const actions = ['prebackup', 'prebackup_live', lastToEnd];
/** oned runs them last, also after a failure: nothing comes after them. */
const lastActions = ['postbackup', 'postbackup_live'];

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
  const deadline = Date.now() + limitMs;
  let ended = 0;
  /** The action that was ended last. */
  let last: string | undefined;
  /** The same once no process of it is left. */
  let gone: string | undefined;
  // One action may just have ended well, and oned be about to start the next.
  for (let quietSince = Date.now(); Date.now() - quietSince < quietMs;) {
    if ((await findActions(lastActions, backup)).length > 0) break;
    const found = await findActions(actions, backup);
    // After `backup`, and when `prebackup` begins once more, it is the next backup of the VM, which nobody cancelled.
    if (gone === lastToEnd) break;
    if (gone !== undefined && found.some(({ action }) => action !== lastToEnd)) break;
    for (const one of found) await end(one, deadline);
    if (found.length > 0) quietSince = Date.now();
    else gone = last;
    last = found.at(-1)?.action ?? last;
    ended += found.length;
    await sleep(pollMs);
  }
  return ended;
}

interface FoundAction {
  readonly identity: ProcessIdentity;
  readonly action: string;
  /** As messages name it. */
  readonly name: string;
}

/** Tells an action to end and waits until it has. @throws FailedError */
async function end({ identity, name }: FoundAction, deadline: number): Promise<void> {
  if ((await stateOf(identity)) !== 'running') return;
  try {
    process.kill(identity.pid, 'SIGTERM');
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return;
    throw new FailedError(`cannot end ${name}: ${String(error)}`);
  }
  while ((await stateOf(identity)) === 'running') {
    if (Date.now() > deadline) {
      throw new FailedError(`${name} was told to end, but does not`);
    }
    await sleep(pollMs);
  }
}

async function findActions(
  names: readonly string[],
  { place, deployId }: RunningBackup,
): Promise<readonly FoundAction[]> {
  const found: FoundAction[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const line = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    // The interpreter, the script, its arguments.
    const [, script = '', ...args] = line.split('\0');
    const action = basename(script);
    if (!names.includes(action) || !args.includes(place) || !args.includes(deployId)) continue;
    const identity = await identify(Number(pid)).catch(() => undefined);
    if (identity) found.push({ identity, action, name: `${action} of ${place} (process ${pid})` });
  }
  return found;
}
