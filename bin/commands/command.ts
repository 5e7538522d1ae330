// What each command of `onevmdump` provides, and what they share.
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import type { Config } from '../../lib/config/config.ts';
import { loadConfig } from '../../lib/session/load-config.ts';
import { FailedError, UsageError, type OnevmdumpError } from '../../lib/report/errors.ts';
import { failureOf, type Failure } from '../../lib/report/failure.ts';
import type { Log } from '../../lib/report/log.ts';
import { printLine } from '../../lib/report/print.ts';
import { progressBars, progressLines } from '../../lib/report/progress-bars.ts';
import type { Progress } from '../../lib/report/progress.ts';
import type { CommandDescription } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

export interface CliCommand<Options> {
  readonly description: CommandDescription;
  /** `description` declares what arrives here as `Options`. */
  readonly run: (options: Options, context: EntrypointContext) => Promise<void>;
}

/** The configuration for these options. @throws UsageError */
export function configFor(options: GlobalOptions, log: Log): Promise<Config> {
  return loadConfig({ file: options.config, env: process.env, warn: (text) => log.warn(text) });
}

/** Shows progress on stderr: as bars on a terminal, as log lines elsewhere. */
export async function withProgress<T>(
  log: Log,
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return work(progressLines(log));
  const bars = progressBars(process.stderr);
  try {
    return await work(bars);
  } finally {
    bars.stop();
  }
}

let printed = false;

/**
 * Prints the result: the plain text, or the report object with --json. Waits until it is out.
 * @param failure why the result is not all that was requested: it is added to the report, and the caller throws it
 */
export async function printResult(
  options: GlobalOptions,
  plain: string,
  report: object,
  failure?: OnevmdumpError,
): Promise<void> {
  printed = true;
  const whole = failure ? { ...report, error: failureOf(failure) } : report;
  await printLine(options.json ? JSON.stringify(whole) : plain);
}

/** The same for a command that has made what it prints: if it cannot be printed, the error names it. */
export async function printMade(
  options: GlobalOptions,
  plain: string,
  report: object,
  failure?: OnevmdumpError,
): Promise<void> {
  try {
    await printResult(options, plain, report, failure);
  } catch (error) {
    if (!(error instanceof FailedError)) throw error;
    const made = plain.replaceAll('\n', ', ');
    throw new FailedError(`${error.message}; nothing was undone, the result is: ${made}`, {
      cause: error,
    });
  }
}

/** Prints a failure for --json, unless a result has been printed: stdout has one object. */
export async function printFailure(failure: Failure): Promise<void> {
  if (!printed) await printLine(JSON.stringify({ error: failure }));
}

/** An id of OpenNebula: 0, 1, 2, ... @throws UsageError */
export function parseId(text: string, what: string): number {
  const id = /^\d{1,9}$/.test(text.trim()) ? Number(text) : NaN;
  if (Number.isNaN(id)) throw new UsageError(`${what} must be a number, not '${text}'`);
  return id;
}
