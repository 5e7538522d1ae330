// Runs a program from one open file into another, again and again: compressors, fed with files instead
// of pipes. Through pipes Node would carry every byte; this way the kernel gives the program the file.
// A shell of its own starts the program each time, because a fork of Node takes 2 ms and then costs a
// page fault for every page of memory that is in use.
import { spawn } from 'node:child_process';
import { CommandError, errorMessage } from '../report/errors.ts';
import { quoteCommand } from './quote.ts';
import type { Command } from './runner.ts';
import { saidBy } from './said-by.ts';

export interface Filter {
  /**
   * Runs the program once, with stdin and stdout on the two files, each from its first byte. The output is
   * written over what the file holds, which is not cut: fresh pages for a file in memory cost more than
   * the copying. Not to be called while it runs.
   * @returns how many bytes were written
   * @throws CommandError when the program cannot be started, is killed, or exits with another status
   *   than 0; the signal's reason when that is why
   */
  run(): Promise<number>;
  /** Kills what is running; it has ended then. Never rejects. May be called twice. */
  close(): Promise<void>;
}

export interface FilterOptions {
  /** What is being done, for the error message: "compress a frame". */
  readonly doing: string;
  /** Kills the program. */
  readonly signal: AbortSignal;
}

// For each line on stdin: the program, then its status and the offset where its output ends. Opening the
// descriptors 3 and 4 once more gives offsets of our own. The program and its arguments are "$@".
const script = `
while read -r _; do
  {
    "$@" 3<&- 4<&-
    status=$?
    read -r _ position </proc/self/fdinfo/1
  } </proc/self/fd/3 1<>/proc/self/fd/4
  echo "$status $position"
done`;

/** A filter over the files behind two descriptors, which stay open; they may have been unlinked. */
export function startFilter(
  { program, args }: Command,
  files: { readonly input: number; readonly output: number },
  { doing, signal }: FilterOptions,
): Filter {
  const child = spawn('/bin/sh', ['-c', script, 'sh', program, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', files.input, files.output],
    // Nothing else: GZIP, PIGZ, ZSTD_CLEVEL and the like would change the output.
    env: { LANG: 'C', LC_ALL: 'C', PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    // A process group of its own: a Ctrl-C reaches us alone, and shell and program are killed together.
    detached: true,
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let answer = '';
  let stderr = '';
  let over = false;
  let waiting: ((answer: string) => void) | undefined;

  child.stdin?.on('error', () => undefined);
  child.stdout?.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
    if (answer.endsWith('\n')) settle();
  });
  child.stderr?.on('data', (data: Buffer) => {
    stderr = (stderr + data.toString()).slice(-2000);
  });
  child.once('error', (error) => {
    stderr = errorMessage(error);
    settle();
  });
  child.once('close', () => {
    over = true;
    settle();
  });
  signal.addEventListener('abort', kill);

  function settle(): void {
    waiting?.(answer);
    waiting = undefined;
    answer = '';
  }

  function kill(): void {
    const running = child.exitCode === null && child.signalCode === null;
    if (!running || child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended in this moment.
    }
  }

  return {
    async run() {
      signal.throwIfAborted();
      stderr = '';
      const settled = new Promise<string>((resolve) => {
        waiting = resolve;
      });
      if (over) settle();
      else child.stdin?.write('\n');
      const match = /^(\d+) (\d+)\n$/.exec(await settled);
      const status = Number(match?.[1]);
      if (status === 0) return Number(match?.[2]);
      signal.throwIfAborted();
      throw new CommandError(`cannot ${doing}: ${saidBy(program, why(status, stderr))}`, {
        command: quoteCommand(program, args),
        status: match ? status : undefined,
        stderr,
      });
    },
    async close() {
      signal.removeEventListener('abort', kill);
      kill();
      await ended;
    },
  };
}

function why(status: number, stderr: string): string {
  if (Number.isNaN(status)) return stderr.trim() || 'its shell has ended';
  if (status === 127) return 'is not installed';
  // So the shell says that a signal ended it.
  if (status > 128) return `was killed by signal ${status - 128}`;
  return stderr.trim().split('\n').slice(-3).join(' ') || `ended with exit status ${status}`;
}
