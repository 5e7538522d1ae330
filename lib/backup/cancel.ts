// Ends a running backup, that is its `prebackup` or our `backup`, and waits until the process has undone its changes. Both are
// found by their command lines, which have the VM's folder and domain from the start; a journal appears only later.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError, hasCode } from '../report/errors.ts';
import { identify, stateOf, type ProcessIdentity } from '../run/process-identity.ts';

const pollMs = 50;
/** The backup is treated as ended after no action was seen for this long, as a busy oned starts the next action late. */
const quietMs = 5000;
const lastToEnd = 'backup';
const actions = ['prebackup', 'prebackup_live', lastToEnd];
/** oned runs these last, also after a failure. */
const lastActions = ['postbackup', 'postbackup_live'];

export interface RunningBackup {
  /** `host:folder`, as OpenNebula gives it to every action. */
  readonly hostFolder: string;
  readonly deployId: string;
}

/**
 * Ends all actions of a backup.
 * @param limitMs milliseconds that the actions may take to undo their changes
 * @returns how many actions were ended
 * @throws FailedError when an action does not end in time
 */
export async function cancelBackup(backup: RunningBackup, limitMs: number): Promise<number> {
  const deadline = Date.now() + limitMs;
  let ended = 0;
  /** The action that was told to end last. */
  let last: string | undefined;
  /** The same, once it has no process any more. */
  let completed: string | undefined;
  // An action may have just ended by itself, and oned may be about to start the next.
  for (let quietSince = Date.now(); Date.now() - quietSince < quietMs;) {
    if ((await findActions(lastActions, backup)).length > 0) break;
    const found = await findActions(actions, backup);
    // An action after `backup`, or a second `prebackup`, belongs to the next backup of the VM, which nobody cancelled.
    if (completed === lastToEnd) break;
    if (completed !== undefined && found.some(({ action }) => action !== lastToEnd)) break;
    for (const action of found) await end(action, deadline);
    if (found.length > 0) quietSince = Date.now();
    else completed = last;
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

/** Sends SIGTERM to an action and waits until it has ended. @throws FailedError */
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
      throw new FailedError(`${name} was told to end, but still runs`);
    }
    await sleep(pollMs);
  }
}

async function findActions(
  names: readonly string[],
  { hostFolder, deployId }: RunningBackup,
): Promise<readonly FoundAction[]> {
  const found: FoundAction[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const line = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    // The line has the interpreter, the script and the script's arguments.
    const [, script = '', ...args] = line.split('\0');
    const action = basename(script);
    if (!names.includes(action) || !args.includes(hostFolder) || !args.includes(deployId)) continue;
    const identity = await identify(Number(pid)).catch(() => undefined);
    if (identity)
      found.push({ identity, action, name: `${action} of ${hostFolder} (process ${pid})` });
  }
  return found;
}
