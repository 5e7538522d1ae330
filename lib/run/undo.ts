// Undos as plain data. A journal holds them, and `cleanup` can carry them out in another process, just as the run that
// recorded them. The module that makes a change declares the kind of its undo, with everything about it.
// lib/session/undo-handlers.ts lists the kinds.
import { errorMessage, FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { readShape, type Shape } from './json-shape.ts';
import type { Runner, SshTarget } from './runner.ts';

/** What undoes one change, as JSON in a journal. The `undo` of its kind makes it. */
export interface Undo {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** An undo, and the machine on which it is carried out; undefined is this one. */
export interface PlacedUndo {
  readonly undo: Undo;
  readonly on: SshTarget | undefined;
}

/** What most kinds need to be carried out. */
export interface UndoDeps {
  readonly log: Log;
  /** A runner for a machine; undefined is this one. No signal stops what it runs. */
  readonly runnerAt: (on: SshTarget | undefined) => Runner;
}

/**
 * What happens to an undo for a machine that is gone for good. `anywhere`: every machine sees the same thing, and its
 * name belongs to one run only, so it is undone from here. `ended`: it ended with its machine; if that was a container,
 * it is undone on the machine that the container was on. `by-hand`: on this machine, its name may belong to something
 * else, so a person has to look.
 */
export type Fate = 'anywhere' | 'ended' | 'by-hand';

/** Everything about one kind of undo. */
export interface UndoSpec<Data extends object, Deps> {
  /** In journals. DO NOT CHANGE: a journal outlives the process that wrote it. */
  readonly kind: string;
  /** What the journal holds besides `kind`. It is validated when it is read back. */
  readonly fields: Shape<Data>;
  /** Says what is left if the undo fails, and which command removes it. */
  readonly describe: (data: Data) => string;
  /** Undoes it on the machine `on`; undefined is this one. MUST succeed when there is nothing left to undo. */
  readonly carryOut: (data: Data, deps: Deps, on: SshTarget | undefined) => Promise<void>;
  /** A function if the fate depends on whether the names in the data belong to this run only. */
  readonly whenMachineIsGone: Fate | ((data: Data, runId: string) => Fate);
  /**
   * Whether it removes something that we made on the storage of a VM or in its QEMU. As long as such an undo is left,
   * the VM must not be started, moved or deleted: a snapshot or an active volume would be used on two hosts.
   */
  readonly freesStorage?: boolean;
  /** Returns the VM that it unlocks. It is carried out last, and only if no undo with `freesStorage` is left. */
  readonly unlocks?: (data: Data) => number;
}

/** One undo, as its kind has read it. */
export interface UndoFacts {
  readonly freesStorage: boolean;
  /** Id of the VM that it unlocks; undefined if it unlocks none. */
  readonly unlocks: number | undefined;
  describe(): string;
  fate(runId: string): Fate;
}

export interface ReadUndo<Deps> extends UndoFacts {
  carryOut(deps: Deps, on: SshTarget | undefined): Promise<void>;
}

/** A kind of undo, whatever its data. */
export interface UndoKind<Deps> {
  readonly kind: string;
  readonly freesStorage: boolean;
  /** @throws FailedError when the data is not what this kind records */
  read(undo: Undo): ReadUndo<Deps>;
}

/** A kind of undo for the module that records it. */
export interface RecordedUndoKind<Data extends object, Deps> extends UndoKind<Deps> {
  /** Makes the undo to be recorded before the change is made. */
  undo(data: Data): Undo;
}

/** Declares a kind of undo. `fields` must be a constant of its own: otherwise TypeScript does not infer its type. */
export function undoKind<Data extends object, Deps = UndoDeps>(
  spec: UndoSpec<Data, Deps>,
): RecordedUndoKind<Data, Deps> {
  const { kind, fields, freesStorage = false } = spec;
  return {
    kind,
    freesStorage,
    undo: (data) => ({ kind, ...data }),
    read(undo) {
      const data = readShape(
        fields,
        undo,
        (why) => new FailedError(`the undo ${kind} in the journal is not usable: ${why}`),
      );
      const { whenMachineIsGone: fate } = spec;
      return {
        freesStorage,
        unlocks: spec.unlocks?.(data),
        describe: () => spec.describe(data),
        fate: (runId) => (typeof fate === 'function' ? fate(data, runId) : fate),
        carryOut: (deps, on) => spec.carryOut(data, deps, on),
      };
    },
  };
}

/** Carries out the undos of a journal. */
export interface UndoHandlers {
  /** Never throws: an undo that this version does not understand says so. */
  readonly read: (undo: Undo) => UndoFacts;
  /** @throws what its kind throws; FailedError for an undo that this version does not understand */
  readonly carryOut: (placed: PlacedUndo) => Promise<void>;
}

/** Returns a function that reads undos by their kinds. It never throws: undos may come from a journal on disk. */
export function undoReader<Deps>(kinds: readonly UndoKind<Deps>[]): (undo: Undo) => ReadUndo<Deps> {
  const byName = new Map(kinds.map((kind) => [kind.kind, kind]));
  if (byName.size < kinds.length) throw new Error('two kinds of undo have the same name');
  return (undo) => {
    const kind = byName.get(undo.kind);
    if (!kind) {
      return notUnderstood(
        undo,
        new FailedError(
          `this version of onevmdump does not know the undo ${shown(undo.kind)}; another version has recorded it`,
        ),
      );
    }
    try {
      return kind.read(undo);
    } catch (error) {
      return notUnderstood(undo, error, kind.freesStorage);
    }
  };
}

/** Nobody knows what such an undo would remove. So its VM stays locked, and the undo stays in its journal. */
function notUnderstood<Deps>(undo: Undo, why: unknown, freesStorage = true): ReadUndo<Deps> {
  const error = why instanceof Error ? why : new FailedError(errorMessage(why));
  return {
    freesStorage,
    unlocks: undefined,
    describe: () => `${errorMessage(error)}; a person has to find out what is left: ${shown(undo)}`,
    fate: () => 'anywhere',
    carryOut: () => Promise.reject(error),
  };
}

/** Shows what a journal says, for messages. It may be anything, so it is shortened. */
function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}

/** Says what is left after an undo failed, where it is, and which command removes it. */
export function remedy({ on }: PlacedUndo, facts: UndoFacts): string {
  return on === undefined ? facts.describe() : `on ${on.host}: ${facts.describe()}`;
}
