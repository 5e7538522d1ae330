// The ways back, as plain data: what a journal holds, and what `cleanup` in another process can
// carry out as well as the run that wrote it. A new kind needs a handler in lib/undo-handlers.ts.
import { quote } from './quote.ts';

export type Undo =
  /** A file this tool made, such as a `.part`. Gone already is fine. */
  | { readonly kind: 'remove-file'; readonly path: string }
  /** A private folder this tool made (its last name begins with `onevmdump-`), with all in it. */
  | { readonly kind: 'remove-folder'; readonly path: string }
  /** A server this tool started: the process named `program` that has `argument` in its command line. */
  | { readonly kind: 'stop-process'; readonly program: string; readonly argument: string }
  /** The VM's lock as it was: `level` as given to one.vm.lock, or null for unlocked. */
  | {
      readonly kind: 'restore-lock';
      readonly endpoint: string;
      readonly vmId: number;
      readonly level: number | null;
    }
  /** The image of this name that was registered from `path`; the path is this run's own and unique. */
  | {
      readonly kind: 'delete-image';
      readonly endpoint: string;
      readonly name: string;
      readonly path: string;
    }
  /** The template of this name, if it was registered at or after `since` (epoch seconds). */
  | {
      readonly kind: 'delete-template';
      readonly endpoint: string;
      readonly name: string;
      readonly since: number;
    };

/** Carries undos out. Each MUST succeed when there is nothing left to undo. */
export type UndoHandlers = {
  readonly [K in Undo['kind']]: (undo: Extract<Undo, { kind: K }>) => Promise<void>;
};

/** Carries out one undo by its handler. */
export async function carryOut(undo: Undo, handlers: UndoHandlers): Promise<void> {
  // The table's type pairs each kind with its handler; TypeScript cannot follow that through a lookup.
  const handler = handlers[undo.kind] as (undo: Undo) => Promise<void>;
  await handler(undo);
}

/** What is left when an undo failed, and what a person types to remove it. */
export function remedy(undo: Undo): string {
  switch (undo.kind) {
    case 'remove-file':
      return `the file ${undo.path} is left; remove it with: rm -f ${quote(undo.path)}`;
    case 'remove-folder':
      return `the folder ${undo.path} is left; remove it with: rm -rf ${quote(undo.path)}`;
    case 'stop-process':
      return `${undo.program} may still run; end it with: pkill -f ${quote(undo.argument)}`;
    case 'restore-lock':
      return undo.level === null
        ? `VM ${undo.vmId} is left locked; unlock it with: onevm unlock ${undo.vmId}`
        : `VM ${undo.vmId} is left locked by another level than before; put it back with: onevm lock ${undo.vmId} ${lockOption(undo.level)}`;
    case 'delete-image':
      return `the image ${undo.name} may be left; delete it with: oneimage delete ${quote(undo.name)}`;
    case 'delete-template':
      return `the template ${undo.name} may be left; delete it with: onetemplate delete ${quote(undo.name)}`;
  }
}

function lockOption(level: number): string {
  return { 1: '--use', 2: '--manage', 3: '--admin' }[level] ?? '--all';
}
