// Every error a user may see, and the exit code each stands for. The class says what kind of
// failure it is; the message says what was being done, on what, and the tool's own last words.
// The table of codes is documented in docs/errors.md. Exit codes are set in lib/entrypoint.ts only.

/** An error meant for the person at the terminal: its message is enough, a stack is not shown. */
export abstract class OnevmdumpError extends Error {
  abstract readonly exitCode: number;
  override get name(): string {
    return this.constructor.name;
  }
}

/** The work itself failed (I/O, no space, time limit). */
export class FailedError extends OnevmdumpError {
  readonly exitCode = 1;
}

/** Wrong arguments, options, configuration, or input that is not what it must be. */
export class UsageError extends OnevmdumpError {
  readonly exitCode = 2;
}

/** The VM's state, or a disk's storage, cannot be handled. */
export class UnsupportedError extends OnevmdumpError {
  readonly exitCode = 3;
}

/** An external program failed; `command`, `status` and `stderr` are its facts. */
export class CommandError extends OnevmdumpError {
  readonly exitCode = 4;
  readonly command: string;
  readonly status: number | undefined;
  readonly stderr: string;
  constructor(
    message: string,
    facts: { command: string; status?: number | undefined; stderr?: string; cause?: unknown },
  ) {
    super(message, { cause: facts.cause });
    this.command = facts.command;
    this.status = facts.status;
    this.stderr = facts.stderr ?? '';
  }
}

/** A host cannot be reached by ssh, or the connection to it was lost: ssh failed, not what it was to run. */
export class ConnectionError extends CommandError {}

/** A bundle is damaged, unreadable, or holds what a bundle must not hold. */
export class BundleError extends OnevmdumpError {
  readonly exitCode = 5;
}

/** OpenNebula refused a call or could not be reached; `code` is oned's error code, if it answered. */
export class OpenNebulaError extends OnevmdumpError {
  readonly exitCode = 6;
  readonly code: number | undefined;
  constructor(message: string, facts: { code?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause: facts.cause });
    this.code = facts.code;
  }
}

/** Done in part: what was left of a bundle that lost its end was restored or extracted. */
export class PartialError extends OnevmdumpError {
  readonly exitCode = 7;
}

/** SIGHUP (129), SIGINT (130) or SIGTERM (143) ended the run; everything was undone before this is reported. */
export class InterruptedError extends OnevmdumpError {
  readonly exitCode: number;
  readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP';
  constructor(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`interrupted by ${signal}`);
    this.signal = signal;
    this.exitCode = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal];
  }
}

/** What is worth telling of any thrown value. */
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
