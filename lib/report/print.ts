// stdout carries the result alone.
import { FailedError, hasCode } from './errors.ts';

/** Writes to stdout and waits until it is out; a reader that has gone away is no error. */
export async function printBytes(bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (!error || hasCode(error, 'EPIPE')) resolve();
      else reject(new FailedError(`cannot write the result to stdout: ${error.message}`));
    });
  });
}

/** Prints one line, likewise. */
export async function printLine(text: string): Promise<void> {
  await printBytes(Buffer.from(`${text}\n`));
}
