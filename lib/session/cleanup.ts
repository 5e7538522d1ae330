// What runs left that were killed, or whose machine went down: their journals are still there, and
// their processes are not. And what was left to a later process on purpose. Journals of other machines
// and containers, with which the state folder may be shared, are left alone.
import { access, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, hasCode } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { adoptJournal } from '../run/journal.ts';
import { journalFolder, parseJournal, type JournalHeader } from '../run/journal-file.ts';
import { placeName, stateOf } from '../run/process-identity.ts';
import { remedy, type PlacedUndo, type UndoHandlers } from '../run/undo.ts';
import { factsOf } from './undo-handlers.ts';

/**
 * A run that was killed may have left a program that is just making what the journal's last line announced: so long
 * after that line it has ended. (LVM's programs can take longer; their undo waits for them.)
 */
const settleMs = 2000;

/** The journal of a run that has ended, or of one elsewhere. */
export interface Remains {
  readonly path: string;
  readonly header: JournalHeader;
  /** What is to be undone, in the order in which it was recorded. */
  readonly pending: readonly PlacedUndo[];
  /** Left to another process on purpose, by a run that had come to its end. */
  readonly held: boolean;
}

/** All journals but those of runs that still run here. */
export interface Journals {
  /** Of runs that were killed. */
  readonly killed: readonly Remains[];
  /**
   * What was fixed for a backup that OpenNebula runs, and is kept for its next driver action. Nothing of it may be
   * undone while the VM is being backed up.
   */
  readonly held: readonly Remains[];
  /** Of runs on other machines or in other PID namespaces: it cannot be known here whether they still run. */
  readonly elsewhere: readonly Remains[];
}

/** Finds the journals of all runs but those that still run here. @param vmId only those of this VM. */
export async function findJournals(
  stateFolder: string,
  vmId: number | undefined,
  log: Log,
): Promise<Journals> {
  const folder = journalFolder(stateFolder);
  const found = { killed: [] as Remains[], held: [] as Remains[], elsewhere: [] as Remains[] };
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    try {
      const { header, pending, held } = parseJournal(await readFile(path, 'utf8'), path);
      if (vmId !== undefined && header.vmId !== vmId) continue;
      const state = await stateOf(header.process);
      if (state === 'running') continue;
      const kind = state === 'elsewhere' ? 'elsewhere' : held ? 'held' : 'killed';
      found[kind].push({
        path,
        header,
        pending: pending.map(({ undo, on }) => ({ undo, on })),
        held,
      });
    } catch (error) {
      // It has ended well meanwhile; or nobody knows what it says, and somebody has to look.
      if (!hasCode(error, 'ENOENT')) log.warn(`left alone: ${errorMessage(error)}`);
    }
  }
  return found;
}

/** The same for who undoes without being asked: runs elsewhere are named in a warning, and left alone. */
export async function findRemains(
  stateFolder: string,
  vmId: number,
  log: Log,
): Promise<Pick<Journals, 'killed' | 'held'>> {
  const { killed, held, elsewhere } = await findJournals(stateFolder, vmId, log);
  for (const remains of elsewhere)
    log.warn(`${inWords(remains)} is left alone: ${whyAlone(remains)}`);
  return { killed, held };
}

/** Undoes what a dead run left. @returns whether nothing is left now; what is was warned of. */
export async function undoRemains(
  { path, held }: Remains,
  handlers: UndoHandlers,
  log: Log,
): Promise<boolean> {
  try {
    if (!held) await sleep(Math.max(0, (await stat(path)).mtimeMs + settleMs - Date.now()));
    const { journal } = await adoptJournal(path, log);
    await journal.undoAll(handlers);
  } catch (error) {
    // Another process was faster.
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  return await access(path).then(
    () => false,
    () => true,
  );
}

/** A run in words. */
export function inWords({ header }: Pick<Remains, 'header'>): string {
  const { action, vmId, process, started } = header;
  const of = vmId === null ? '' : ` of VM ${vmId}`;
  return `${action}${of} (process ${process.pid}, started ${started})`;
}

/** Why nothing is done about a run elsewhere, and what to do when it is no more. */
export function whyAlone({ header }: Pick<Remains, 'header'>): string {
  const place = placeName(header.process);
  return `it belongs to ${place}; if that machine or container is gone for good: onevmdump cleanup --gone ${place}`;
}

/** What is left, in words: one line for each, the way it would be removed by hand. */
export function describeRemains({ pending }: Remains): readonly string[] {
  return pending.map((placed) => remedy(placed, factsOf(placed.undo))).reverse();
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}
