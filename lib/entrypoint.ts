// The frame around every program of this project: signals, the error's last line, the exit code.
// The only place that ends the process.
import { createLog, type Log } from './report/log.ts';
import { ignoreOutputErrors, writeToStderr } from './report/print.ts';
import { CommandError, errorMessage, InterruptedError, OnevmdumpError } from './report/errors.ts';
import { failureOf, internalFailure, stackOf, type Failure } from './report/failure.ts';
import { Fault } from './run/fault.ts';

export interface Entrypoint {
  /** The program's name in log lines: `onevmdump`, `prebackup_live`. */
  readonly script: string;
  readonly debug: boolean;
  /**
   * For a program that mostly ends at once: stdout and stderr, which take Node long to open, are left
   * closed. It calls `ignoreOutputErrors` before it does more than to log a line or two.
   */
  readonly light?: boolean;
  /**
   * A driver of oned, to which all of stderr is the message, of which it shows the beginning: one line for the error,
   * then the warnings.
   */
  readonly driver?: boolean;
  /** Reports a failure to a program, after it was reported on stderr. */
  readonly onFailure?: (failure: Failure) => Promise<void>;
  /** @returns the exit code, if it is that of another program; nothing means 0 */
  readonly main: (context: EntrypointContext) => Promise<number | undefined> | Promise<void>;
}

export interface EntrypointContext {
  readonly log: Log;
  /**
   * Aborted by the first SIGINT, SIGTERM or SIGHUP, and by an error of this program that nobody has caught;
   * `main` undoes what it did and throws its reason.
   */
  readonly signal: AbortSignal;
}

/** After the abort of a run that had stopped: how long its undo may take to start something that Node waits for. */
const stoppedGraceMs = 1000;

/** Whether the environment asks for debug lines: ONEVMDUMP_DEBUG, anything but `0` and nothing. */
export function isDebug(env: NodeJS.ProcessEnv): boolean {
  return !['', '0'].includes(env['ONEVMDUMP_DEBUG'] ?? '');
}

/**
 * Runs `main` to its end and sets the exit code. Further signals do not interrupt the undo. An error that nobody caught
 * aborts the run: it is undone, and the exit code is 1.
 */
export async function runEntrypoint(entrypoint: Entrypoint): Promise<void> {
  const { script, debug, light = false, driver = false, onFailure, main } = entrypoint;
  const later: string[] = [];
  const write = driver && !debug ? (text: string): unknown => later.push(text) : writeToStderr;
  const log = createLog({ script, debug, quiet: driver, write });
  if (!light) ignoreOutputErrors();
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) log.info('already stopping: undoing what was done so far');
      controller.abort(new InterruptedError(name));
    });
  }
  const end = (exitCode: number): never => {
    for (const text of later) writeToStderr(text);
    // Nothing may keep the process alive now: everything is closed, or no longer matters.
    process.exit(exitCode);
  };
  const fail = async (error: unknown): Promise<number> => {
    const failure = report(error, log, driver);
    // If nobody reads stdout any more, the exit code is enough.
    await onFailure?.(failure).catch((why: unknown) => log.debug(errorMessage(why)));
    return failure.exitCode;
  };
  abortOnFaults(controller, log, (fault) => void fail(fault).then(end));
  const { signal } = controller;
  const exitCode = await Promise.resolve()
    .then(async () => await main({ log, signal }))
    .then(
      // Work that ended well in spite of an uncaught error is not to be trusted.
      (code) => (signal.reason instanceof Fault ? fail(signal.reason) : (code ?? 0)),
      (error: unknown) => fail(signal.aborted ? signal.reason : error),
    );
  end(exitCode);
}

/**
 * Aborts the run after an uncaught exception or an unhandled rejection, so that it is undone like an interrupted one.
 * Work that waits for a promise which nobody settles is aborted too, as soon as Node has nothing left to do.
 * @param giveUp reports the fault and ends the process; called if the aborted work stops in the same way
 */
function abortOnFaults(
  controller: AbortController,
  log: Log,
  giveUp: (fault: unknown) => void,
): void {
  const abort = (error: unknown): void => {
    // The first one is reported at the end; it is often the cause of the others.
    if (controller.signal.aborted) log.error(`another error: ${errorMessage(error)}`);
    else controller.abort(new Fault(error));
  };
  process.on('uncaughtException', abort);
  process.on('unhandledRejection', abort);
  let stopped = false;
  process.on('beforeExit', () => {
    // Without something to wait for, Node would end before the undo has begun or the failure is reported.
    setTimeout(() => undefined, stoppedGraceMs);
    if (stopped) giveUp(controller.signal.reason);
    else abort(new Error('the work has stopped without a result'));
    stopped = true;
  });
}

/** Reports an error on stderr: a log line with its facts, then one plain line for the user. */
function report(error: unknown, log: Log, driver: boolean): Failure {
  if (error instanceof CommandError && !driver)
    log.error(`${error.command}: ${error.stderr || 'failed'}`);
  // The whole stack is for --debug.
  const cause = error instanceof Fault ? error.cause : error;
  log.debug(stackOf(cause) ?? String(cause));
  const failure = error instanceof OnevmdumpError ? failureOf(error) : internalFailure(cause);
  writeToStderr(`${failure.message}\n`);
  return failure;
}
