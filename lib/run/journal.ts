// The undo journal: before a run changes anything outside of its process, the undo of that change is on disk.
// Each run has one file, `<state folder>/journal/<run id>.jsonl`. The first line identifies the process. Then follow one
// line for each recorded undo, and one for each undo that is no longer needed. A last line says if the rest is left to
// another process. A line that was cut short by a crash is ignored: the change that it announced was not made yet.
import { randomBytes } from 'node:crypto';
import { constants, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import {
  appender,
  journalFolder,
  openJournalFile,
  parseJournal,
  writeHeader,
  type Appender,
  type JournalHeader,
  type Pending,
} from './journal-file.ts';
import { identify } from './process-identity.ts';
import type { SshTarget } from './runner.ts';
import { quote } from './quote.ts';
import { remedy, type PlacedUndo, type Undo, type UndoHandlers } from './undo.ts';

export interface JournalEntry {
  /**
   * Records that the undo is no longer needed: it was carried out, or what it would remove is to stay. If this cannot be
   * recorded, there is only a warning, because the change itself is as it should be.
   */
  done(): Promise<void>;
}

export interface Journal {
  readonly runId: string;
  /**
   * Writes and flushes the undo of a change. MUST be called BEFORE the change is made.
   * @param on the machine where the change is made (a runner's `target`); undefined is this one.
   */
  record(undo: Undo, on?: SshTarget): Promise<JournalEntry>;
  /**
   * Records in one write that none of these undos is needed any more, so that a run that is killed meanwhile keeps either
   * everything it has made or nothing. Like `JournalEntry.done`, it never rejects.
   */
  allDone(entries: readonly JournalEntry[]): Promise<void>;
  /**
   * Carries out all undos that are still recorded, the last one first; the VM lock is removed at the very end. Removes
   * the file if nothing is left. If an undo fails, a warning says what is left, and the undo stays in the journal for
   * `cleanup`. The VM stays locked as long as something that we made is on its storage. Never rejects.
   */
  undoAll(handlers: UndoHandlers): Promise<void>;
  /**
   * Leaves everything that is still recorded to a later process, which adopts the journal and undoes it: OpenNebula's
   * postbackup undoes what its prebackup has recorded. MUST be the last call on a journal.
   */
  hold(): Promise<void>;
}

/** Creates a journal in `stateFolder`, which is created if it is missing. */
export async function createJournal(options: {
  readonly stateFolder: string;
  readonly action: string;
  readonly vmId: number | undefined;
  readonly log: Log;
}): Promise<Journal> {
  const folder = journalFolder(options.stateFolder);
  const runId = randomBytes(8).toString('hex');
  const path = join(folder, `${runId}.jsonl`);
  const header: JournalHeader = {
    version: 1,
    runId,
    process: await identify('self'),
    action: options.action,
    vmId: options.vmId ?? null,
    started: new Date().toISOString(),
  };
  const file = await openJournalFile(options.stateFolder, path);
  await writeHeader(file, header, path);
  return journalOn(appender(file, true), path, runId, [], options.log);
}

/** Takes over the journal of a run that has ended, to undo what it left (`cleanup`). */
export async function adoptJournal(
  path: string,
  log: Log,
): Promise<{ header: JournalHeader; journal: Journal; pending: readonly PlacedUndo[] }> {
  const text = await readFile(path, 'utf8');
  const { header, pending } = parseJournal(text, path);
  // Opened without O_CREAT: another process may have undone everything and removed the file since it was read.
  const file = await open(path, constants.O_WRONLY | constants.O_APPEND);
  const lines = appender(file, text.endsWith('\n'));
  const journal = journalOn(lines, path, header.runId, pending, log);
  return { header, journal, pending: pending.map(({ undo, on }) => ({ undo, on })) };
}

function journalOn(
  lines: Appender,
  path: string,
  runId: string,
  left: readonly Pending[],
  log: Log,
): Journal {
  let pending = [...left];
  let lastSeq = Math.max(0, ...left.map(({ seq }) => seq));
  const seqs = new WeakMap<JournalEntry, number>();
  const done = async (...finished: readonly number[]): Promise<void> => {
    const struck = pending.filter(({ seq }) => finished.includes(seq));
    if (struck.length === 0) return;
    pending = pending.filter(({ seq }) => !finished.includes(seq));
    try {
      await lines.append(...struck.map(({ seq }) => ({ seq, done: true })));
    } catch (error) {
      log.warn(
        `cannot write the undo journal ${path} (${errorMessage(error)}); as long as it is there, \`onevmdump cleanup\` would undo what is to stay`,
      );
    }
  };
  return {
    runId,
    async record(undo, on) {
      const seq = ++lastSeq;
      await lines.append({ seq, undo, ...(on ? { on } : {}) });
      pending.push({ seq, undo, on });
      const entry = { done: () => done(seq) };
      seqs.set(entry, seq);
      return entry;
    },
    allDone: (entries) => done(...entries.flatMap((entry) => seqs.get(entry) ?? [])),
    async undoAll(handlers) {
      const tried = new Set<number>();
      for (;;) {
        // An undo may itself record an undo, such as that of a connection which it needs.
        const untried = pending.filter((entry) => !tried.has(entry.seq));
        const next =
          untried.findLast((entry) => handlers.read(entry.undo).unlocks === undefined) ??
          untried.at(-1);
        if (!next) break;
        const { seq, undo, on } = next;
        tried.add(seq);
        const { unlocks } = handlers.read(undo);
        if (unlocks !== undefined && pending.some((one) => handlers.read(one.undo).freesStorage)) {
          log.warn(
            `VM ${unlocks} stays locked, since something of ours is left on its storage or in its QEMU; when that is removed, this unlocks it: onevmdump cleanup`,
          );
          continue;
        }
        try {
          log.debug(`undo ${JSON.stringify({ undo, on })}`);
          await handlers.carryOut({ undo, on });
          await done(seq);
        } catch (error) {
          const whatIsLeft = remedy({ undo, on }, handlers.read(undo));
          log.warn(`could not undo everything (${errorMessage(error)}): ${whatIsLeft}`);
        }
      }
      try {
        await lines.close();
        // Another `cleanup` may have removed the file already.
        if (pending.length === 0) await rm(path, { force: true });
      } catch (error) {
        log.warn(
          `nothing is left to be undone, but the undo journal cannot be removed (${errorMessage(error)}); remove it with: rm -f ${quote(path)}`,
        );
      }
    },
    async hold() {
      await lines.append({ held: true });
      await lines.close();
    },
  };
}
