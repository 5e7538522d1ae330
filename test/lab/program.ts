// Runs a program for a lab. Not lib/run: what the labs say about the project must not depend on it.
import { execFile } from 'node:child_process';
import { limits } from '../support/limits.ts';

export interface ProgramOptions {
  readonly input?: string;
  /** By default `limits.programMs`. */
  readonly timeoutMs?: number;
  /** Exit codes besides 0 that are an answer. */
  readonly acceptStatus?: readonly number[];
}

/** The program's stdout. @throws Error with its last words on stderr */
export function runProgram(
  program: string,
  args: readonly string[],
  { input, timeoutMs = limits.programMs, acceptStatus = [] }: ProgramOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (!error || (typeof error.code === 'number' && acceptStatus.includes(error.code))) {
        resolve(stdout);
        return;
      }
      const why = error.killed ? `no end within ${timeoutMs / 1000} s` : stderr.trim().slice(-2000);
      const what = [program, ...args].join(' ').slice(0, 300);
      reject(new Error(`${what}: ${why || error.message}`, { cause: error }));
    });
    // It may end without having read its input.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
