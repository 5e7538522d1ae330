// A journal as a file: where it lies, its lines, and what they say.
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FailedError } from '../report/errors.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { giveToOwner, makeStateFolder } from './state-folder.ts';
import type { PlacedUndo } from './undo.ts';

export interface JournalHeader {
  readonly version: 1;
  readonly runId: string;
  readonly process: ProcessIdentity;
  /** What the run does, such as `export`. */
  readonly action: string;
  readonly vmId: number | null;
  /** ISO 8601, UTC. */
  readonly started: string;
}

const journalName = 'journal';

/** Where the journals of all runs lie; may be missing. */
export function journalFolder(stateFolder: string): string {
  return join(stateFolder, journalName);
}

export interface Pending extends PlacedUndo {
  readonly seq: number;
}

export async function openJournalFile(stateFolder: string, path: string): Promise<FileHandle> {
  try {
    await makeStateFolder(stateFolder, journalName);
    const file = await open(path, 'ax', 0o600);
    await giveToOwner(path, stateFolder);
    return file;
  } catch (error) {
    throw new FailedError(
      `cannot write the undo journal ${path}: ${errorMessage(error)}; set STATE_DIR to a folder that can be written`,
      { cause: error },
    );
  }
}

export interface Appender {
  /** Writes and flushes one line. */
  append(line: object): Promise<void>;
  close(): Promise<void>;
}

/** @param whole whether the file ends with a whole line; after one that was cut short a new one is begun */
export function appender(file: FileHandle, whole: boolean): Appender {
  let isWhole = whole;
  return {
    async append(line) {
      const begin = isWhole ? '' : '\n';
      isWhole = false;
      await file.appendFile(`${begin}${JSON.stringify(line)}\n`);
      isWhole = true;
      await file.datasync();
    },
    close: () => file.close(),
  };
}

/** A journal that cannot be begun leaves no file. */
export async function writeHeader(
  file: FileHandle,
  header: JournalHeader,
  path: string,
): Promise<void> {
  try {
    await appender(file, true).append(header);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw new FailedError(`cannot write the undo journal ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** A journal as it stands in its file. */
export interface ParsedJournal {
  readonly header: JournalHeader;
  /** The undos that are not done yet, in the order in which they were recorded. */
  readonly pending: readonly Pending[];
  /** Left to another process by `hold`. */
  readonly held: boolean;
}

/** Reads a journal's text. @throws FailedError when it is none. */
export function parseJournal(text: string, path: string): ParsedJournal {
  const lines: unknown[] = [];
  for (const line of text.split('\n')) {
    try {
      lines.push(JSON.parse(line));
    } catch {
      // Cut short by a crash, or the empty end of the file.
    }
  }
  const header = lines.shift() as JournalHeader | undefined;
  if (header?.version !== 1 || typeof header.runId !== 'string' || !isIdentity(header.process)) {
    throw new FailedError(`${path} is not a journal of this version of onevmdump`);
  }
  const entries = lines as (Pending | { seq: number; done: true } | { held: true })[];
  const doneSeqs = new Set(entries.flatMap((one) => ('done' in one ? [one.seq] : [])));
  const pending = entries.filter((one): one is Pending => 'undo' in one && !doneSeqs.has(one.seq));
  return { header, pending, held: entries.some((one) => 'held' in one) };
}

function isIdentity(value: unknown): value is ProcessIdentity {
  const fields = value as Partial<ProcessIdentity> | undefined;
  const { startTime, bootId, machineId, host, pidNamespace } = fields ?? {};
  return (
    typeof fields?.pid === 'number' &&
    [startTime, bootId, machineId, host, pidNamespace].every((text) => typeof text === 'string')
  );
}
