// What the fuzzing knows about a parser of input that is not trusted. targets.ts has the table of all of them.
import type { OnevmdumpError } from '../../lib/report/errors.ts';
import { BundleError, CommandError, FailedError } from '../../lib/report/errors.ts';
import { OpenNebulaError, UnsupportedError, UsageError } from '../../lib/report/errors.ts';
import type { Chance } from './mutations.ts';

/** The classes of errors that a parser may throw. */
export const errorClasses = {
  BundleError,
  CommandError,
  FailedError,
  OpenNebulaError,
  UnsupportedError,
  UsageError,
} as const;
export type ErrorClass = keyof typeof errorClasses;

/** An input that was read, and is none of the seeds. */
export interface Accepted {
  readonly input: Buffer;
  /** What `read` returned. */
  readonly value: unknown;
}

export interface Target {
  /** Of the parser, for `--parser`, and for the folder of the cases that once failed. */
  readonly name: string;
  /** Input that must be read without an error. It is the same in each run: a case is known by its number alone. */
  seeds(): readonly Buffer[] | Promise<readonly Buffer[]>;
  readonly mutate: (seed: Buffer, chance: Chance) => Buffer;
  /** Reads an input as the tool does. It throws an Error if what was read is impossible. */
  read(input: Buffer): unknown;
  /** The errors that are right for a bad input. */
  readonly refuses: readonly ErrorClass[];
  /** Has a foreign tool judge some of the inputs that were read. @returns what is wrong with each, or undefined */
  judge?(accepted: readonly Accepted[]): readonly (string | undefined)[];
  /** Releases what `read` holds open. */
  readonly close?: () => Promise<void>;
}

/** Whether an error is one for a person, of a class that the target may throw. */
export function isRefusal(error: unknown, { refuses }: Target): error is OnevmdumpError {
  return refuses.some((name) => error instanceof errorClasses[name]);
}

/** Throws an Error, which is a failure of the case, unless `holds`. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`impossible: ${what}`);
}
