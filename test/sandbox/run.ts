// External programs of the stand-in: no shell, and the caller gets the program's own last words.
import { execFile } from 'node:child_process';

/** @throws Error with the program's stderr when it fails. */
export function run(
  program: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      LANG: 'C',
      LC_ALL: 'C',
      PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    };
    execFile(program, [...args], { env, maxBuffer: 1 << 24, signal }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr.trim() || error.message));
      else resolve(stdout);
    });
  });
}
