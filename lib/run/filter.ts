// Runs a program from one open file into another, again and again: compressors, which get files instead of
// pipes. Through pipes Node would carry every byte; this way the kernel gives the program the file. A shell
// starts the program each time, because a fork of Node takes 2 ms and then costs a page fault for every page
// of memory that is in use.
import { spawn, type ChildProcess } from 'node:child_process';
import { CommandError, errorMessage } from '../report/errors.ts';
import { quoteCommand } from './quote.ts';
import type { Command } from './runner.ts';
import { saidBy } from './said-by.ts';

export interface Filter {
  /**
   * Runs the program once, with stdin and stdout on the two files, each from its first byte. The output file
   * is overwritten but not truncated: fresh pages for a file in memory cost more than the copying. Must not be
   * called while the program runs.
   * @returns how many bytes were written
   * @throws CommandError when the program cannot be started, is killed, or exits with another status
   *   than 0; the signal's reason when the signal ended it
   */
  run(): Promise<number>;
  /** Kills what is running, and waits for its end. Never rejects. May be called twice. */
  close(): Promise<void>;
}

export interface FilterOptions {
  /** What is being done, for the error message: "compress a frame". */
  readonly doing: string;
  /** Kills the program. */
  readonly signal: AbortSignal;
}

// For each line on stdin, runs the program, then prints its status and the offset where its output ends. Opening the
// descriptors 3 and 4 again gives file offsets that start at 0. The program and its arguments are "$@".
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
  command: Command,
  files: { readonly input: number; readonly output: number },
  options: FilterOptions,
): Filter {
  return new ShellLoop(command, files, options);
}

/** The shell that runs the program once for each line that it is given. */
class ShellLoop implements Filter {
  readonly #command: Command;
  readonly #doing: string;
  readonly #signal: AbortSignal;
  readonly #shell: ChildProcess;
  readonly #ended: Promise<void>;
  #answer = '';
  #stderr = '';
  #hasEnded = false;
  /** Takes the answer to the line that was given last. */
  #waiting: ((answer: string) => void) | undefined;

  constructor(
    command: Command,
    files: { readonly input: number; readonly output: number },
    { doing, signal }: FilterOptions,
  ) {
    this.#command = command;
    this.#doing = doing;
    this.#signal = signal;
    const { program, args } = command;
    this.#shell = spawn('/bin/sh', ['-c', script, 'sh', program, ...args], {
      stdio: ['pipe', 'pipe', 'pipe', files.input, files.output],
      // Nothing else: GZIP, PIGZ, ZSTD_CLEVEL and the like would change the output.
      env: { LANG: 'C', LC_ALL: 'C', PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
      // A process group of its own: a Ctrl-C reaches us alone, and shell and program are killed together.
      detached: true,
    });
    this.#ended = new Promise((resolve) => this.#shell.once('close', () => resolve()));
    this.#listen();
    signal.addEventListener('abort', this.#kill);
  }

  async run(): Promise<number> {
    this.#signal.throwIfAborted();
    this.#stderr = '';
    const answered = new Promise<string>((resolve) => {
      this.#waiting = resolve;
    });
    if (this.#hasEnded) this.#settle();
    else this.#shell.stdin?.write('\n');
    const match = /^(\d+) (\d+)\n$/.exec(await answered);
    const status = Number(match?.[1]);
    if (status === 0) return Number(match?.[2]);
    this.#signal.throwIfAborted();
    const { program, args } = this.#command;
    const reason = saidBy(program, why(status, this.#stderr));
    throw new CommandError(`cannot ${this.#doing}: ${reason}`, {
      command: quoteCommand(program, args),
      status: match ? status : undefined,
      stderr: this.#stderr,
    });
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#kill);
    this.#kill();
    await this.#ended;
  }

  #listen(): void {
    const shell = this.#shell;
    shell.stdin?.on('error', () => undefined);
    shell.stdout?.setEncoding('latin1').on('data', (text: string) => {
      this.#answer += text;
      if (this.#answer.endsWith('\n')) this.#settle();
    });
    shell.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-2000);
    });
    shell.once('error', (error) => {
      this.#stderr = errorMessage(error);
      this.#settle();
    });
    shell.once('close', () => {
      this.#hasEnded = true;
      this.#settle();
    });
  }

  #settle(): void {
    this.#waiting?.(this.#answer);
    this.#waiting = undefined;
    this.#answer = '';
  }

  readonly #kill = (): void => {
    const { exitCode, signalCode, pid } = this.#shell;
    const isRunning = exitCode === null && signalCode === null;
    if (!isRunning || pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  };
}

function why(status: number, stderr: string): string {
  if (Number.isNaN(status)) return stderr.trim() || 'its shell has ended';
  if (status === 127) return 'is not installed';
  // How the shell reports a program that a signal ended.
  if (status > 128) return `was killed by signal ${status - 128}`;
  return stderr.trim().split('\n').slice(-3).join(' ') || `exited with status ${status}`;
}
