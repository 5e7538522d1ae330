// stdout carries the result alone, stderr all else.
import { fstatSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { FailedError, hasCode } from './errors.ts';

let guarded = false;

/** A reader of stdout or stderr that has gone away must not end us in the middle of an undo. */
export function guardOutput(): void {
  if (guarded) return;
  guarded = true;
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', () => undefined);
}

/** Writes to stderr; before `guardOutput` without opening it as a stream. */
export function writeToStderr(line: string): void {
  let rest: Uint8Array = Buffer.from(line);
  if (!guarded) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch {
      // Full, or its reader has gone away: as a stream it can do either.
    }
    if (rest.length === 0) return;
    guardOutput();
  }
  process.stderr.write(rest);
}

let toFile: Writable | undefined;

/**
 * stdout. Where it is a file, Node's own stream makes one write of each piece and ignores how much of it was taken:
 * on a file system that is nearly full, the rest would be lost without an error.
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

/** Writes to stdout and waits until it is out; a reader that has gone away is no error. */
export async function printBytes(bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stdout().write(bytes, (error) => {
      if (!error || hasCode(error, 'EPIPE')) resolve();
      else reject(new FailedError(`cannot write the result to stdout: ${error.message}`));
    });
  });
}

/** Prints one line, likewise. */
export async function printLine(text: string): Promise<void> {
  await printBytes(Buffer.from(`${text}\n`));
}
