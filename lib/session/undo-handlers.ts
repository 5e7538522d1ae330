// Collects all kinds of undo that the modules declare, and carries out the undos of a journal.
import { locationUndoKinds } from '../bundle/location/undo.ts';
import { guestUndoKinds } from '../guest/undo.ts';
import { oneUndoKinds, type OneUndoDeps } from '../one/undo.ts';
import { commonUndoKinds } from '../run/undo-kinds.ts';
import {
  undoReader,
  type Undo,
  type UndoFacts,
  type UndoHandlers,
  type UndoKind,
  type UndoDeps,
} from '../run/undo.ts';
import { stopSpaceWatch } from '../storage/job/undo.ts';
import { storageModules } from '../storage/registry.ts';

type Deps = UndoDeps & OneUndoDeps;

const kinds: readonly UndoKind<Deps>[] = [
  ...commonUndoKinds,
  ...locationUndoKinds,
  ...guestUndoKinds,
  ...oneUndoKinds,
  stopSpaceWatch,
  ...storageModules.flatMap(({ undoKinds }) => undoKinds),
];
const read = undoReader(kinds);

/** Returns what is known about an undo. Never throws: an undo that this version does not understand says so. */
export function factsOf(undo: Undo): UndoFacts {
  return read(undo);
}

export function undoHandlers(deps: Deps): UndoHandlers {
  return { read, carryOut: ({ undo, on }) => read(undo).carryOut(deps, on) };
}
