// Describes a failure to a person (one line) and to a program (the object that --json prints).
import { errorMessage, type OnevmdumpError } from './errors.ts';
import { exitCodeOf, type ErrorCode } from './exit-codes.ts';
import { inOneLine } from './one-line.ts';

/** The object `error` that --json prints. It also contains the facts of the error. */
export interface Failure {
  /** A word of lib/report/exit-codes.ts. */
  readonly code: ErrorCode;
  /** One line. */
  readonly message: string;
  readonly exitCode: number;
}

/** The failure of an error of our own. */
export function failureOf(error: OnevmdumpError): Failure {
  const { code, exitCode, facts } = error;
  return { code, message: inOneLine(errorMessage(error)), exitCode, ...facts };
}

/** A bug of this program. @param error anything that was thrown; its stack tells the authors where */
export function internalFailure(error: unknown): Failure {
  const code = 'internal-error';
  const place = /^\s*at (.*)$/m.exec(stackOf(error) ?? '')?.[1];
  const text = `internal error: ${errorMessage(error)}${place === undefined ? '' : ` (at ${place})`}`;
  return { code, message: inOneLine(text), exitCode: exitCodeOf(code) };
}

/** The stack of an error. Does not use instanceof, because the error may be of another realm, or not be an Error at all. */
export function stackOf(error: unknown): string | undefined {
  const stack: unknown = (error as { stack?: unknown } | null | undefined)?.stack;
  return typeof stack === 'string' ? stack : undefined;
}
