// Runs a program in place of this one, as exec of a shell does; Node has no exec. The program gets our stdin and our
// signals, and writes to our stdout and stderr.
import { constants } from 'node:os';
import { execa } from 'execa';
import { CommandError, InterruptedError } from '../report/errors.ts';

/**
 * @param input what was already read from stdin
 * @returns its exit status; 128 and the signal's number when a signal ended it
 * @throws CommandError when it cannot be started
 */
export async function runInOurPlace(
  program: string,
  args: readonly string[],
  { input, signal }: { readonly input: Uint8Array; readonly signal: AbortSignal },
): Promise<number> {
  const child = execa(program, [...args], {
    reject: false,
    input,
    stdout: 'inherit',
    stderr: 'inherit',
    buffer: false,
  });
  const passOn = (): void => {
    const { reason } = signal as { reason: unknown };
    child.kill(reason instanceof InterruptedError ? reason.signal : 'SIGTERM');
  };
  signal.addEventListener('abort', passOn);
  if (signal.aborted) passOn();
  const result = await child;
  signal.removeEventListener('abort', passOn);
  if (result.exitCode !== undefined) return result.exitCode;
  if (result.signal !== undefined) return 128 + constants.signals[result.signal];
  throw new CommandError(`cannot run ${program}: ${result.originalMessage ?? 'unknown reason'}`, {
    command: program,
    cause: result,
  });
}
