// The frame around every program of this project: signals, the error's last line, the exit code.
// The only place that ends the process.
import { createLog, type Log } from './report/log.ts';
import { guardOutput, writeToStderr } from './report/print.ts';
import { CommandError, errorMessage, InterruptedError, OnevmdumpError } from './report/errors.ts';

export interface Entrypoint {
  /** The program's name in log lines: `onevmdump`, `prebackup_live`. */
  readonly script: string;
  readonly debug: boolean;
  /**
   * For a program that mostly ends at once: stdout and stderr, which take Node long to open, are left
   * closed. It calls `guardOutput` before it does more than to log a line or two.
   */
  readonly light?: boolean;
  /**
   * A driver of oned, to which all of stderr is the message, of which it shows the beginning: one line for the error,
   * then the warnings.
   */
  readonly driver?: boolean;
  /** @returns the exit code, where it is another program's; nothing is 0 */
  readonly main: (context: EntrypointContext) => Promise<number | undefined> | Promise<void>;
}

export interface EntrypointContext {
  readonly log: Log;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP; `main` undoes what it did and throws its reason. */
  readonly signal: AbortSignal;
}

/** Whether the environment asks for debug lines: ONEVMDUMP_DEBUG, anything but `0` and nothing. */
export function isDebug(env: NodeJS.ProcessEnv): boolean {
  return !['', '0'].includes(env['ONEVMDUMP_DEBUG'] ?? '');
}

/** Runs `main` to its end and sets the exit code. Further signals do not cut the undo short. */
export async function runEntrypoint(entrypoint: Entrypoint): Promise<void> {
  const { script, debug, light = false, driver = false, main } = entrypoint;
  const later: string[] = [];
  const write = driver && !debug ? (text: string): unknown => later.push(text) : writeToStderr;
  const log = createLog({ script, debug, quiet: driver, write });
  if (!light) guardOutput();
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) log.info('already stopping: undoing what was done so far');
      controller.abort(new InterruptedError(name));
    });
  }
  const exitCode = await Promise.resolve(main({ log, signal: controller.signal })).then(
    (code) => code ?? 0,
    (error: unknown) =>
      report(controller.signal.aborted ? controller.signal.reason : error, log, driver),
  );
  for (const text of later) writeToStderr(text);
  // Nothing may keep the process alive now: everything was closed or is worth nothing any more.
  process.exit(exitCode);
}

/** Tells of an error on stderr: its facts in the log's form, then one plain line for the person. */
function report(error: unknown, log: Log, driver: boolean): number {
  if (error instanceof CommandError && !driver)
    log.error(`${error.command}: ${error.stderr || 'failed'}`);
  if (error instanceof OnevmdumpError) {
    if (error.stack !== undefined) log.debug(error.stack);
    writeToStderr(`${errorMessage(error).replaceAll(/\s*\n\s*/g, ' ')}\n`);
    return error.exitCode;
  }
  // A fault of this program: the stack is what its authors need.
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  writeToStderr(`internal error: ${errorMessage(error)}\n`);
  return 1;
}
