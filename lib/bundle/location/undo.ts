// The undo of what writing a bundle makes at its location.
import { rmdir } from 'node:fs/promises';
import { hasCode } from '../../report/errors.ts';
import { object } from '../../run/json-object.ts';
import { text } from '../../run/json-shape.ts';
import { quote } from '../../run/quote.ts';
import { undoKind } from '../../run/undo.ts';
import { removeEmptyFolder, removeUnfinished } from './host-file.ts';

const unfinished = object({ part: text, path: text });

/** Removes an unfinished bundle on another machine: its part file, and the bundle if both are the same file. */
export const removeUnfinishedBundle = undoKind({
  kind: 'remove-unfinished',
  fields: unfinished,
  describe: ({ part, path }) =>
    `an unfinished bundle ${path} may be left; if ${part} exists, remove both with: rm -f ${quote(path)} ${quote(part)}`,
  carryOut: (file, { runnerAt }, on) => removeUnfinished(runnerAt(on), file),
  whenMachineIsGone: 'by-hand',
});

const folder = object({ path: text });

/** Removes a folder that this tool made, if it is empty. */
export const removeFolderIfEmpty = undoKind({
  kind: 'remove-empty-folder',
  fields: folder,
  describe: ({ path }) =>
    `the folder ${path} may be left; if it is empty, remove it with: rmdir ${quote(path)}`,
  async carryOut({ path }, { runnerAt }, on) {
    if (on !== undefined) return removeEmptyFolder(runnerAt(on), path);
    try {
      await rmdir(path);
    } catch (error) {
      if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].some((code) => hasCode(error, code))) throw error;
    }
  },
  whenMachineIsGone: 'by-hand',
});

export const locationUndoKinds = [removeUnfinishedBundle, removeFolderIfEmpty];
