// The undo journal: before anything outside this process is changed, the way back is on disk.
// One file per run, `<state folder>/journal/<run id>.jsonl`: a header line that identifies the
// process, then one line per recorded undo and one per undo that is no longer needed; a last one when
// the rest is left to another process. A line that was cut short by a crash is ignored: what it announced
// had not been done yet.
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
   * The undo is no longer needed: it was carried out, or what it would remove is to stay. That this cannot be written down is
   * a warning: the change itself is as it should be.
   */
  done(): Promise<void>;
}

export interface Journal {
  readonly runId: string;
  /**
   * Writes and flushes the way back. Called BEFORE the change is made.
   * @param on the machine where the change is made (a runner's `target`); undefined is this one.
   */
  record(undo: Undo, on?: SshTarget): Promise<JournalEntry>;
  /**
   * Carries out all that is still recorded, last first, the VM lock last of all, and removes the file when nothing
   * is left. A failed undo is a warning that says what is left, and stays in the journal for `cleanup`. The VM stays
   * locked as long as something of ours is on its storage. Never rejects.
   */
  undoAll(handlers: UndoHandlers): Promise<void>;
  /**
   * Leaves all that is still recorded to a process that comes later and adopts the journal, instead of undoing
   * it: what OpenNebula's prebackup has fixed, its postbackup releases. The last call on a journal.
   */
  hold(): Promise<void>;
}

/** Opens a new journal under `stateFolder`, which is made if it is missing. */
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

/** Takes over the journal of a dead run, to carry out what it left (`cleanup`). */
export async function adoptJournal(
  path: string,
  log: Log,
): Promise<{ header: JournalHeader; journal: Journal; pending: readonly PlacedUndo[] }> {
  const text = await readFile(path, 'utf8');
  const { header, pending } = parseJournal(text, path);
  // Not made anew when another process has just done all of it.
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
  const done = async (seq: number): Promise<void> => {
    if (!pending.some((one) => one.seq === seq)) return;
    pending = pending.filter((one) => one.seq !== seq);
    try {
      await lines.append({ seq, done: true });
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
      return { done: () => done(seq) };
    },
    async undoAll(handlers) {
      const tried = new Set<number>();
      for (;;) {
        // Undoing may itself record something, such as a connection that has to be made for it.
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
        // Another `cleanup` may have been faster.
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
