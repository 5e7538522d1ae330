// Reads what a program prints while it runs; the program's failure is an error of the stream.
import { CommandError, FailedError } from '../report/errors.ts';
import { quoteCommand } from '../run/quote.ts';
import type { Command, PipedService, Runner } from '../run/runner.ts';
import { saidBy } from '../run/said-by.ts';

export interface OutputOptions {
  readonly runner: Runner;
  /** Ends the program; the signal's reason is then the error. */
  readonly signal: AbortSignal;
  /** What is being done, for the error message: "read disk 0 of VM 7". */
  readonly doing: string;
  /** The program is ended when it prints nothing for this long, in milliseconds, while its output is awaited. */
  readonly stallMs: number;
}

export interface ProgramOutput {
  /**
   * Starts the program at the first read, and reads no faster than the consumer does. Ends without an error
   * only when the program exits with 0. The program has ended when the iteration ends.
   * @throws CommandError when it cannot be started or exits with another status than 0; FailedError
   *   after `stallMs`; the signal's reason.
   */
  readonly chunks: AsyncIterable<Buffer>;
  /** Settles when the program has ended, or was never started and `signal` is aborted. Never rejects. */
  readonly ended: Promise<void>;
}

export function programOutput(command: Command, options: OutputOptions): ProgramOutput {
  let settle = (): void => undefined;
  const ended = new Promise<void>((resolve) => (settle = resolve));
  let started = false;
  const settleUnused = (): void => {
    if (!started) settle();
  };
  options.signal.addEventListener('abort', settleUnused, { once: true });
  if (options.signal.aborted) settleUnused();
  async function* chunks(): AsyncGenerator<Buffer, void, void> {
    started = true;
    try {
      options.signal.throwIfAborted();
      const service = await options.runner.startPiped(command);
      // The program reads nothing. It may be gone before its stdin is closed.
      service.stdin.on('error', () => undefined).end();
      void service.ended.then(settle);
      try {
        yield* printed(service, command, options);
      } finally {
        await service.stop();
      }
    } catch (error) {
      settle();
      throw error;
    }
  }
  return { chunks: chunks(), ended };
}

async function* printed(
  service: PipedService,
  { program, args }: Command,
  { signal, doing, stallMs }: OutputOptions,
): AsyncGenerator<Buffer, void, void> {
  let reason: { readonly error: unknown } | undefined;
  let waitingSince: number | undefined = performance.now();
  const end = (error: unknown): void => {
    reason ??= { error };
    // Also cleared here, because the consumer may never read again.
    clearInterval(watch);
    void service.stop();
    // A program that waits for its reader then sees that there is none.
    service.stdout.destroy();
  };
  const abort = (): void => end(signal.reason);
  signal.addEventListener('abort', abort);
  const watch = setInterval(
    () => {
      if (waitingSince === undefined || performance.now() - waitingSince < stallMs) return;
      end(new FailedError(`cannot ${doing}: ${program}: no answer for ${stallMs / 1000} s`));
    },
    Math.min(1000, stallMs / 4),
  );
  try {
    if (signal.aborted) abort();
    for await (const chunk of service.stdout) {
      waitingSince = undefined;
      yield chunk as Buffer;
      waitingSince = performance.now();
    }
    const { status, stderr } = await service.ended;
    if (status === 0) return;
    const why = stderr || `it ended with status ${status ?? 'unknown'}`;
    const text = `cannot ${doing}: ${saidBy(program, why)}`;
    throw new CommandError(text, { command: quoteCommand(program, args), status, stderr });
  } catch (error) {
    throw reason ? reason.error : error;
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', abort);
  }
}
