// What each command of `onevmdump` provides, and what they share.
import type { Argv } from 'yargs';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { loadConfig, type Config } from '../../lib/config/config.ts';
import { UsageError } from '../../lib/report/errors.ts';
import type { Log } from '../../lib/report/log.ts';
import { printLine } from '../../lib/report/print.ts';
import { progressBars, progressLines } from '../../lib/report/progress-bars.ts';
import type { Progress } from '../../lib/report/progress.ts';

/** Options every command has. */
export interface GlobalOptions {
  readonly debug: boolean;
  readonly json: boolean;
  readonly config: string | undefined;
}

export interface CommandDefinition<Options> {
  /** As yargs takes them: `export [vm_id]`. */
  readonly words: string;
  readonly describe: string;
  readonly options: (argv: Argv) => Argv;
  /** Options that may be given several times, as they arrive in `Options`. */
  readonly repeatable?: readonly string[];
  /** `options` declares what arrives here as `Options`. */
  readonly run: (options: Options, context: EntrypointContext) => Promise<void>;
}

/** The configuration for these options. @throws UsageError */
export function configFor(options: GlobalOptions, log: Log): Promise<Config> {
  return loadConfig({ file: options.config, env: process.env, warn: (text) => log.warn(text) });
}

/** Bars when a person watches, log lines otherwise; nothing on stdout. */
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

/** Prints the result: the plain text, or the report object with --json. Waits until it is out. */
export async function printResult(
  options: GlobalOptions,
  plain: string,
  report: object,
): Promise<void> {
  await printLine(options.json ? JSON.stringify(report) : plain);
}

/** An id as OpenNebula counts: 0, 1, 2, ... @throws UsageError */
export function parseId(text: string, what: string): number {
  const id = /^\d{1,9}$/.test(text.trim()) ? Number(text) : NaN;
  if (Number.isNaN(id)) throw new UsageError(`${what} must be a number, not '${text}'`);
  return id;
}

/**
 * Refuses options that were given several times and are to be given once: yargs collects them in a list.
 * @throws UsageError
 */
export function requireOnce(
  args: Readonly<Record<string, unknown>>,
  repeatable: readonly string[] = [],
): void {
  for (const [name, value] of Object.entries(args)) {
    // The other names of an option that has a long one, and the words that are none.
    if (name.length === 1 || name.includes('-') || repeatable.includes(name)) continue;
    if (!Array.isArray(value) || value.every((one) => typeof one === 'boolean')) continue;
    const option = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new UsageError(`--${option} was given more than once`);
  }
}
