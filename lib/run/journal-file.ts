// The file of a journal: where it is, how its lines are written, and what they say.
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FailedError } from '../report/errors.ts';
import { object, optional } from './json-object.ts';
import {
  count,
  made,
  matching,
  oneOf,
  readShape,
  text,
  time,
  truth,
  type Infer,
  type Shape,
} from './json-shape.ts';
import { isHostName, isUserName } from './ssh-target.ts';
import { giveToOwner, makeStateFolder } from './state-folder.ts';
import type { PlacedUndo, Undo } from './undo.ts';

const identity = object({
  pid: count(),
  startTime: text,
  bootId: text,
  machineId: text,
  host: text,
  pidNamespace: text,
});
const headerShape = object({
  version: oneOf(1),
  runId: matching(/^[\w-]{1,64}$/, 'the id of a run'),
  process: identity,
  /** What the run does, such as `export`. */
  action: text,
  vmId: (value, place): number | null => (value === null ? null : count()(value, place)),
  /** ISO 8601, UTC. */
  started: time,
});

const target = object({
  host: made('a host', (value) => (isHost(value) ? value : undefined)),
  user: optional(made('a user', (value) => (isUser(value) ? value : undefined))),
});
const undoShape = made('an undo', (value) => (isUndo(value) ? value : undefined));
const lineShape = object({
  seq: optional(count()),
  undo: optional(undoShape),
  on: optional(target),
  done: optional(truth),
  held: optional(truth),
});

export type JournalHeader = Infer<typeof headerShape>;

const journalName = 'journal';

/** The folder with the journals of all runs; it may be missing. */
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
  /** Writes and flushes lines, all of them in one write. */
  append(...lines: readonly object[]): Promise<void>;
  close(): Promise<void>;
}

/** @param whole whether the file ends with a whole line; if the line was cut short, the next one begins a new line */
export function appender(file: FileHandle, whole: boolean): Appender {
  let isWhole = whole;
  return {
    async append(...lines) {
      const begin = isWhole ? '' : '\n';
      isWhole = false;
      await file.appendFile(begin + lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      isWhole = true;
      await file.datasync();
    },
    close: () => file.close(),
  };
}

/** Writes the first line. If that fails, the file is removed. */
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

/** What the file of a journal says. */
export interface ParsedJournal {
  readonly header: JournalHeader;
  /** The undos that are not done yet, in the order in which they were recorded. */
  readonly pending: readonly Pending[];
  /** Left to another process by `hold`. */
  readonly held: boolean;
}

/** Parses a journal. @throws FailedError when it is not a journal, or not one that this version understands. */
export function parseJournal(content: string, path: string): ParsedJournal {
  const values: unknown[] = [];
  for (const one of content.split('\n')) {
    try {
      values.push(JSON.parse(one));
    } catch {
      // A line that was cut short by a crash, or the empty end of the file.
    }
  }
  const [first, ...rest] = values;
  const read = <T>(shape: Shape<T>, value: unknown, what: string): T =>
    readShape(
      shape,
      value,
      (why) =>
        new FailedError(`${path} is not a journal of this version of onevmdump: ${what}${why}`),
    );
  const lines = rest.map((value, index) => read(lineShape, value, `in entry ${index + 1}, `));
  const doneSeqs = new Set(lines.flatMap((one) => (one.done ? [one.seq] : [])));
  const pending = lines.flatMap(({ seq, undo: recorded, on }) =>
    recorded && seq !== undefined && !doneSeqs.has(seq) ? [{ seq, undo: recorded, on }] : [],
  );
  return {
    header: read(headerShape, first, 'in its first line, '),
    pending,
    held: lines.some(({ held }) => held),
  };
}

function isUndo(value: unknown): value is Undo {
  return (
    typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string'
  );
}

function isHost(value: unknown): value is string {
  return typeof value === 'string' && isHostName(value);
}

function isUser(value: unknown): value is string {
  return typeof value === 'string' && isUserName(value);
}
