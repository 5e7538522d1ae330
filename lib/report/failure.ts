// What a failure is to a person (one line) and to a program (the object that --json prints).
import { errorMessage, type OnevmdumpError } from './errors.ts';
import { exitCodeOf, type ErrorCode } from './exit-codes.ts';

/** As under `error` in the object that --json prints. Facts of the error stand beside these. */
export interface Failure {
  /** A word of lib/report/exit-codes.ts. */
  readonly code: ErrorCode;
  /** One line. */
  readonly message: string;
  readonly exitCode: number;
}

/** A failure that was foreseen. */
export function failureOf(error: OnevmdumpError): Failure {
  const { code, exitCode, facts } = error;
  return { code, message: inOneLine(errorMessage(error)), exitCode, ...facts };
}

/** A fault of this program. @param error anything that was thrown; its authors need the place in the code */
export function internalFailure(error: unknown): Failure {
  const code = 'internal-error';
  const place = /^\s*at (.*)$/m.exec(stackOf(error) ?? '')?.[1];
  const text = `internal error: ${errorMessage(error)}${place === undefined ? '' : ` (at ${place})`}`;
  return { code, message: inOneLine(text), exitCode: exitCodeOf(code) };
}

/** Not by instanceof: an error of another realm, or no error at all, may have been thrown. */
export function stackOf(error: unknown): string | undefined {
  const stack: unknown = (error as { stack?: unknown } | null | undefined)?.stack;
  return typeof stack === 'string' ? stack : undefined;
}

function inOneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ');
}
