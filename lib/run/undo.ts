// The ways back, as plain data: what a journal holds, and what `cleanup` in another process can carry out as well as
// the run that wrote it. The module that makes a change declares the kind of its undo, with all there is to know about
// it; lib/session/undo-handlers.ts lists the kinds.
import { errorMessage, FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { readShape, type Shape } from './json-shape.ts';
import type { Runner, SshTarget } from './runner.ts';

/** The way back from one change, as it stands in a journal: JSON. Made by the `undo` of its kind. */
export interface Undo {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** An undo and the machine it is for; undefined is this one. */
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
 * What becomes of an undo for a machine that is gone for good. `anywhere`: it is the same seen from every machine, and
 * its name is one run's alone, so it is undone from here. `ended`: it ended with its machine; a container's is undone on
 * the machine that the container was on. `by-hand`: its name may be another's here, so a person has to look.
 */
export type Fate = 'anywhere' | 'ended' | 'by-hand';

/** All there is to know about one kind of undo. */
export interface UndoSpec<Data extends object, Deps> {
  /** In journals. DO NOT CHANGE: a journal outlives the process that wrote it. */
  readonly kind: string;
  /** What the journal holds beside `kind`. It is validated when it is read back. */
  readonly fields: Shape<Data>;
  /** What is left when the undo failed, and what a person types to remove it. */
  readonly describe: (data: Data) => string;
  /** Undoes it on the machine `on`; undefined is this one. MUST succeed when there is nothing left to undo. */
  readonly carryOut: (data: Data, deps: Deps, on: SshTarget | undefined) => Promise<void>;
  /** A function where the fate depends on whether the names in it are those of the run alone. */
  readonly whenMachineIsGone: Fate | ((data: Data, runId: string) => Fate);
  /**
   * Whether it removes something of ours from the storage of a VM or from its QEMU. As long as one of these is left, the
   * VM must not be started, moved or deleted: a snapshot or an active volume would be used on two hosts.
   */
  readonly freesStorage?: boolean;
  /** The VM that it unlocks: it is carried out last, and only when nothing is left that `freesStorage`. */
  readonly unlocks?: (data: Data) => number;
}

/** One undo, as its kind understands it. */
export interface UndoFacts {
  readonly freesStorage: boolean;
  /** Id of the VM that it unlocks; undefined for one that unlocks none. */
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
  /** What is to be recorded before the change is made. */
  undo(data: Data): Undo;
}

/** Declares a kind of undo. `fields` is a constant of its own, or TypeScript does not see its type. */
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
  /** Never throws: an undo that nobody here understands says so. */
  readonly read: (undo: Undo) => UndoFacts;
  /** @throws what its kind throws; FailedError for an undo that nobody here understands */
  readonly carryOut: (placed: PlacedUndo) => Promise<void>;
}

/** Reads undos by their kinds. Never throws for an undo, which may come from a journal on disk. */
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

/** Nobody knows what it would have removed: a VM stays locked for it, and it stays in its journal. */
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

/** For messages: what a journal says, which may be anything. */
function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}

/** What is left when an undo failed, and what a person types to remove it. */
export function remedy({ on }: PlacedUndo, facts: UndoFacts): string {
  return on === undefined ? facts.describe() : `on ${on.host}: ${facts.describe()}`;
}
