// Writes to stdout, which carries only the result, and to stderr, which carries everything else.
import { fstatSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { FailedError, hasCode } from './errors.ts';

let errorsIgnored = false;

/** Ignores errors of stdout and stderr: a closed pipe must not end this process in the middle of an undo. */
export function ignoreOutputErrors(): void {
  if (errorsIgnored) return;
  errorsIgnored = true;
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', () => undefined);
}

/** Writes to stderr; before `ignoreOutputErrors` without opening it as a stream. */
export function writeToStderr(line: string): void {
  let rest: Uint8Array = Buffer.from(line);
  if (!errorsIgnored) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch {
      // The pipe is full or closed. The stream can handle both.
    }
    if (rest.length === 0) return;
    ignoreOutputErrors();
  }
  process.stderr.write(rest);
}

let toFile: Writable | undefined;

/**
 * stdout as a stream that loses nothing. When stdout is a file, Node's own stream writes each piece once and ignores how much
 * was written: on a nearly full file system, the rest would be lost without an error.
 */
export function stdout(): Writable {
  if (toFile) return toFile;
  if (!fstatSync(1).isFile()) return process.stdout;
  toFile = new Writable({
    write(data: Uint8Array, _encoding, done) {
      try {
        for (let rest = data; rest.length > 0;) rest = rest.subarray(writeSync(1, rest));
        done();
      } catch (error) {
        done(error as Error);
      }
    },
  });
  toFile.on('error', () => undefined);
  return toFile;
}

/** Writes to stdout and waits until it is written. A closed pipe is not an error. @throws FailedError */
export async function printBytes(bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stdout().write(bytes, (error) => {
      if (!error || hasCode(error, 'EPIPE')) resolve();
      else reject(new FailedError(`cannot write the result to stdout: ${error.message}`));
    });
  });
}

/** Prints one line in the same way. @throws FailedError */
export async function printLine(text: string): Promise<void> {
  await printBytes(Buffer.from(`${text}\n`));
}
