// Tells a process from another one that was given the same number later: a pid, when it started
// (clock ticks since boot, field 22 of /proc/<pid>/stat, see proc(5)), and the boot it belongs to.
import { readFile } from 'node:fs/promises';
import { hasCode } from '../report/errors.ts';

export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** Start time and state letter; undefined when there is no such process. */
async function stat(pid: number): Promise<{ startTime: string; state: string } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold blanks and parentheses itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

/** The identity of a running process. @throws Error when there is none with this pid. */
export async function identify(pid: number): Promise<ProcessIdentity> {
  const found = await stat(pid);
  if (!found) throw new Error(`no process ${pid}`);
  return { pid, startTime: found.startTime, bootId: await bootId() };
}

/** Whether exactly this process still runs (a zombie does not). */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  if (identity.bootId !== (await bootId())) return false;
  const found = await stat(identity.pid);
  return found?.startTime === identity.startTime && !['Z', 'X'].includes(found.state);
}
