// Every error a user may see. The class says what kind of failure it is; the message says what was being done, on
// what, and the tool's own last words; the code is a word for programs. lib/report/exit-codes.ts has all codes and
// the exit code of each, docs/errors.md explains them. Exit codes are set in lib/entrypoint.ts only.
import { exitCodeOf, exitCodeOfSignal } from './exit-codes.ts';
import type { EndSignal, ErrorCode, ErrorCodeOf } from './exit-codes.ts';
import { shortened } from './one-line.ts';

/** Plain JSON beside the fields that every failure has. */
export type Facts = Readonly<Record<string, unknown>> & {
  readonly code?: never;
  readonly message?: never;
  readonly exitCode?: never;
};

/** What is known of an error beside its message. */
export interface ErrorDetails<Code extends ErrorCode> {
  readonly cause?: unknown;
  /** If programs may want to handle it differently from other errors of its class. */
  readonly code?: Code | undefined;
  /** For programs: ids, names, sizes. They must be plain JSON, and nothing secret. */
  readonly facts?: Facts;
}

/** An error meant for the person at the terminal: its message is enough, a stack is not shown. */
export abstract class OnevmdumpError extends Error {
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly facts: Facts;
  constructor(
    message: string,
    code: ErrorCode,
    { cause, facts = {} }: Pick<ErrorDetails<ErrorCode>, 'cause' | 'facts'> = {},
  ) {
    super(shortened(message), { cause });
    this.code = code;
    this.exitCode = exitCodeOf(code);
    this.facts = facts;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** The work itself failed (I/O, no space, time limit). */
export class FailedError extends OnevmdumpError {
  constructor(message: string, options: ErrorDetails<ErrorCodeOf<'FailedError'>> = {}) {
    const full = hasCode(options.cause, 'ENOSPC') || hasCode(options.cause, 'EDQUOT');
    super(message, options.code ?? (full ? 'no-space' : 'failed'), options);
  }
}

/** Wrong arguments, options, configuration, or input that is not what it must be. */
export class UsageError extends OnevmdumpError {
  constructor(message: string, options: ErrorDetails<ErrorCodeOf<'UsageError'>> = {}) {
    super(message, options.code ?? 'wrong-usage', options);
  }
}

/** The VM's state, or a disk's storage, cannot be handled. */
export class UnsupportedError extends OnevmdumpError {
  constructor(message: string, options: ErrorDetails<ErrorCodeOf<'UnsupportedError'>> = {}) {
    super(message, options.code ?? 'unsupported', options);
  }
}

/** An external program failed; `command`, `status` and `stderr` are its facts. */
export class CommandError extends OnevmdumpError {
  readonly command: string;
  /** Exit status; undefined when it did not end by itself. */
  readonly status: number | undefined;
  readonly stderr: string;
  constructor(
    message: string,
    options: {
      readonly command: string;
      readonly status?: number | undefined;
      readonly stderr?: string;
      readonly cause?: unknown;
      readonly code?: ErrorCodeOf<'CommandError'> | undefined;
    },
  ) {
    const { command, status, stderr = '', cause, code = 'command-failed' } = options;
    super(message, code, { cause, facts: { command, status: status ?? null, stderr } });
    this.command = command;
    this.status = status;
    this.stderr = stderr;
  }
}

/** A host cannot be reached by ssh, or the connection to it was lost: ssh failed, not what it was to run. */
export class ConnectionError extends CommandError {
  constructor(
    message: string,
    options: Omit<ConstructorParameters<typeof CommandError>[1], 'code'>,
  ) {
    super(message, { ...options, code: 'host-unreachable' });
  }
}

/** A bundle is damaged, unreadable, or holds what a bundle must not hold. */
export class BundleError extends OnevmdumpError {
  declare readonly code: ErrorCodeOf<'BundleError'>;
  constructor(message: string, options: ErrorDetails<ErrorCodeOf<'BundleError'>> = {}) {
    super(message, options.code ?? 'bundle-damaged', options);
  }
}

/** OpenNebula refused a call or could not be reached; `oneCode` is oned's own number, if it answered. */
export class OpenNebulaError extends OnevmdumpError {
  readonly oneCode: number | undefined;
  constructor(
    message: string,
    options: ErrorDetails<ErrorCodeOf<'OpenNebulaError'>> & {
      readonly oneCode?: number | undefined;
    } = {},
  ) {
    const { oneCode, code = wordForOneCode(oneCode), cause, facts } = options;
    super(message, code, {
      cause,
      facts: { ...(oneCode === undefined ? {} : { oneCode }), ...facts },
    });
    this.oneCode = oneCode;
  }
}

/** oned's numbers are in docs/errors.md. */
function wordForOneCode(oneCode: number | undefined): ErrorCodeOf<'OpenNebulaError'> {
  if (oneCode === undefined) return 'opennebula-failed';
  if (oneCode === 256) return 'not-authenticated';
  if (oneCode === 1024) return 'object-not-found';
  return 'opennebula-refused';
}

/** Done in part: what was left of a bundle that lost its end was restored or extracted. */
export class PartialError extends OnevmdumpError {
  constructor(message: string, options: ErrorDetails<ErrorCodeOf<'PartialError'>> = {}) {
    super(message, options.code ?? 'bundle-incomplete', options);
  }
}

/** A signal ended the run; everything was undone before this is reported. */
export class InterruptedError extends OnevmdumpError {
  override readonly exitCode: number;
  readonly signal: EndSignal;
  constructor(signal: EndSignal) {
    super(`interrupted by ${signal}`, 'interrupted', { facts: { signal } });
    this.signal = signal;
    this.exitCode = exitCodeOfSignal(signal);
  }
}

/** The message of any thrown value. */
export function errorMessage(error: unknown): string {
  return isErrorLike(error) ? error.message : String(error);
}

/** True for a Node system error with this code (`ENOENT`, `ENOSPC`, ...). */
export function hasCode(error: unknown, code: string): boolean {
  return isErrorLike(error) && 'code' in error && error.code === code;
}

/** By shape: errors of Node itself may come from another realm, where instanceof says no. */
function isErrorLike(error: unknown): error is { message: string } {
  return (
    typeof error === 'object' &&
    error !== null &&
    'message' in error &&
    typeof error.message === 'string'
  );
}
