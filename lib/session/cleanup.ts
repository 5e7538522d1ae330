// Finds and undoes orphaned journals: those of runs that were killed, or whose machine went down. It also finds the
// journals that a run has left to a later process on purpose. The state folder may be shared with other machines and
// containers; their journals are left alone.
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
 * A run that was killed may have left a program that is still making the change which the last line of the journal
 * announced. This long after that line, the program has ended. (LVM's programs can take longer; their undo waits for
 * them.)
 */
const settleMs = 2000;

/** The journal of a run that has ended, or that is on another machine or in another PID namespace. */
export interface Remains {
  readonly path: string;
  readonly header: JournalHeader;
  /** The undos that are not done yet, in the order in which they were recorded. */
  readonly pending: readonly PlacedUndo[];
  /** The run has left it to another process on purpose, and was not killed. */
  readonly held: boolean;
}

/** All journals, except those of runs that still run here. */
export interface Journals {
  /** Of runs that were killed. */
  readonly killed: readonly Remains[];
  /**
   * Of backups by OpenNebula: one driver action has recorded it, and the next one needs it. None of it may be undone
   * while the VM is being backed up.
   */
  readonly held: readonly Remains[];
  /** Of runs on other machines or in other PID namespaces: this process cannot know whether they still run. */
  readonly elsewhere: readonly Remains[];
}

/** Finds the journals of all runs, except those that still run here. @param vmId only the journals of this VM. */
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
      // ENOENT: the run has ended meanwhile, and has removed its journal. Otherwise a person has to look at the journal.
      if (!hasCode(error, 'ENOENT')) log.warn(`left alone: ${errorMessage(error)}`);
    }
  }
  return found;
}

/** Like `findJournals`, for callers that undo without being asked: a warning names the runs elsewhere. */
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

/** Undoes what an ended run has left. @returns whether nothing is left now; a warning says what could not be undone. */
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
    // Another process has undone it first.
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  return await access(path).then(
    () => false,
    () => true,
  );
}

/** Describes a run for messages. */
export function inWords({ header }: Pick<Remains, 'header'>): string {
  const { action, vmId, process, started } = header;
  const of = vmId === null ? '' : ` of VM ${vmId}`;
  return `${action}${of} (process ${process.pid}, started ${started})`;
}

/** Says why a run elsewhere is left alone, and what to do if its machine or container is gone. */
export function whyAlone({ header }: Pick<Remains, 'header'>): string {
  const place = placeName(header.process);
  return `it belongs to ${place}; if that machine or container is gone for good: onevmdump cleanup --gone ${place}`;
}

/** Says what is left and how to remove it by hand, one line for each undo. */
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
