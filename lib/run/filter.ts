// Runs a program from one open file into another: compressors, fed with files instead of pipes.
// Through pipes Node would carry every byte; this way the kernel gives the program the file itself.
// Node's own spawn and not execa: execa takes no descriptors above 9, and costs 1.5 ms more for each
// of the hundreds of frames of a disk.
import { spawn } from 'node:child_process';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { CommandError, errorMessage, FailedError, hasCode } from '../report/errors.ts';
import { quoteCommand } from './quote.ts';
import type { Command } from './runner.ts';

export interface FilterOptions {
  /** What is being done, for the error message: "compress a frame of the bundle". */
  readonly doing: string;
  /** Kills the program; the promise then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/**
 * Runs `command` with stdin and stdout on the files behind two descriptors, each from its first byte,
 * whatever the offsets of the descriptors are. The files may have been unlinked. It has ended when
 * the promise settles. The output is written over what the file holds, which is not cut: fresh pages
 * for a file in memory cost more than the copying.
 * @returns how many bytes were written
 * @throws CommandError when the program cannot be started, is killed, or exits with another status
 *   than 0.
 */
export async function runFilter(
  command: Command,
  files: { readonly input: number; readonly output: number },
  options: FilterOptions,
): Promise<number> {
  // A descriptor shares its offset with its copies; opening it once more gives one of its own.
  const input = await open(`/proc/self/fd/${files.input}`, 'r');
  try {
    const output = await open(`/proc/self/fd/${files.output}`, 'r+');
    try {
      await run(command, input.fd, output.fd, options);
      return await offsetOf(output);
    } finally {
      await output.close();
    }
  } finally {
    await input.close();
  }
}

/** Where the offset of a descriptor stands, as proc(5) shows it; Node has no lseek. */
async function offsetOf(file: FileHandle): Promise<number> {
  const info = await readFile(`/proc/self/fdinfo/${file.fd}`, 'latin1');
  const offset = /^pos:\s*(\d+)$/m.exec(info)?.[1];
  if (offset === undefined) throw new FailedError('cannot read an offset in /proc/self/fdinfo');
  return Number(offset);
}

interface Ending {
  readonly error?: Error;
  readonly status: number | undefined;
  readonly killedBy: string | null;
  readonly stderr: string;
}

async function run(
  command: Command,
  input: number,
  output: number,
  { doing, signal }: FilterOptions,
): Promise<void> {
  signal.throwIfAborted();
  const ending = await ended(command, input, output, signal);
  if (ending.status === 0 && !ending.error) return;
  signal.throwIfAborted();
  const { program, args } = command;
  throw new CommandError(`cannot ${doing}: ${program}: ${why(ending)}`, {
    command: quoteCommand(program, args),
    status: ending.status,
    stderr: ending.stderr,
    cause: ending.error,
  });
}

function ended(
  { program, args }: Command,
  input: number,
  output: number,
  signal: AbortSignal,
): Promise<Ending> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: [input, output, 'pipe'],
      // Nothing else: GZIP, PIGZ, ZSTD_CLEVEL and the like would change the output.
      env: { LANG: 'C', LC_ALL: 'C', PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    });
    let stderr = '';
    let failure: Error | undefined;
    const kill = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    child.stderr?.on('data', (data: Buffer) => {
      stderr = (stderr + data.toString()).slice(-2000);
    });
    child.on('error', (error) => {
      failure = error;
    });
    // Comes after `error` too, and when stderr has been read to its end.
    child.on('close', (status, killedBy) => {
      signal.removeEventListener('abort', kill);
      resolve({
        ...(failure && { error: failure }),
        status: status ?? undefined,
        killedBy,
        stderr,
      });
    });
  });
}

function why({ error, status, killedBy, stderr }: Ending): string {
  if (hasCode(error, 'ENOENT')) return 'is not installed';
  if (error) return errorMessage(error);
  if (killedBy !== null) return `was killed by ${killedBy}`;
  return stderr.trim().split('\n').slice(-3).join(' ') || `ended with exit status ${status ?? '?'}`;
}
