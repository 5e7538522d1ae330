// The kinds of undo that several parts of the tool use: for files and folders that it made, and servers that it started.
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

/** A file that this tool made, such as a `.part`. */
export const removeFile = undoKind({
  kind: 'remove-file',
  fields: ofPath,
  describe: ({ path }) => `the file ${path} is left; remove it with: rm -f ${quote(path)}`,
  carryOut: ({ path }, deps, on) => remove('-f', path, deps, on),
  whenMachineIsGone: ({ path }, runId) => (path.includes(runId) ? 'anywhere' : 'by-hand'),
});

/** A private folder that this tool made, with everything in it. The name of the folder begins with `onevmdump-`. */
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

/** A server that this tool started: the process named `program` that has `argument` in its command line. */
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

/** Node.js itself does it, so that no program has to be found. */
async function removeHere(how: '-f' | '-rf', path: string): Promise<void> {
  try {
    await rm(path, { force: true, recursive: how === '-rf' });
  } catch (error) {
    // Nothing can be there: the name is too long for a file, or a folder of the path is now a file.
    if (!hasCode(error, 'ENAMETOOLONG') && !hasCode(error, 'ENOTDIR')) throw error;
  }
}
