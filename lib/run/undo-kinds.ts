// The kinds of undo that belong to no part alone: files, folders and servers that this tool made.
import { rm } from 'node:fs/promises';
import { posix } from 'node:path';
import { FailedError, hasCode } from '../report/errors.ts';
import { object } from './json-object.ts';
import { text } from './json-shape.ts';
import { ownPrefix } from './own-prefix.ts';
import { stopProcesses } from './processes.ts';
import { quote } from './quote.ts';
import type { SshTarget } from './runner.ts';
import { undoKind, type UndoDeps } from './undo.ts';

const ofPath = object({ path: text });

/** A file this tool made, such as a `.part`. */
export const removeFile = undoKind({
  kind: 'remove-file',
  fields: ofPath,
  describe: ({ path }) => `the file ${path} is left; remove it with: rm -f ${quote(path)}`,
  carryOut: ({ path }, deps, on) => remove('-f', path, deps, on),
  whenMachineIsGone: ({ path }, runId) => (path.includes(runId) ? 'anywhere' : 'by-hand'),
});

/** A private folder this tool made (its last name begins with `onevmdump-`), with all in it. */
export const removeFolder = undoKind({
  kind: 'remove-folder',
  fields: ofPath,
  describe: ({ path }) => `the folder ${path} is left; remove it with: rm -rf ${quote(path)}`,
  async carryOut({ path }, deps, on) {
    if (!posix.basename(path).startsWith(ownPrefix)) {
      throw new FailedError(`${path} was not made by onevmdump`);
    }
    await remove('-rf', path, deps, on);
  },
  whenMachineIsGone: 'anywhere',
});

const server = object({ program: text, argument: text });

/** A server this tool started: the process named `program` that has `argument` in its command line. */
export const stopProcess = undoKind({
  kind: 'stop-process',
  fields: server,
  describe: ({ program, argument }) =>
    `${program} may still run; end it with: pkill -f -- ${quote(argument)}`,
  carryOut: ({ program, argument }, { runnerAt }, on) =>
    stopProcesses(runnerAt(on), program, argument),
  whenMachineIsGone: 'ended',
});

export const commonUndoKinds = [removeFile, removeFolder, stopProcess];

async function remove(
  how: '-f' | '-rf',
  path: string,
  { runnerAt }: UndoDeps,
  on: SshTarget | undefined,
): Promise<void> {
  if (on === undefined) return removeHere(how, path);
  const args = [how, '--', path];
  await runnerAt(on).run({ program: 'rm', args }, { doing: `remove ${path}` });
}

/** By Node.js itself, so that no program has to be found. */
async function removeHere(how: '-f' | '-rf', path: string): Promise<void> {
  try {
    await rm(path, { force: true, recursive: how === '-rf' });
  } catch (error) {
    // Nothing can be there: the name is longer than names can be, or a folder of the path has become a file.
    if (!hasCode(error, 'ENAMETOOLONG') && !hasCode(error, 'ENOTDIR')) throw error;
  }
}
