// stdin for a program that usually ends at once. Opening process.stdin loads Node's stream and network code, which takes
// longer than reading a VM's XML.
import { fstatSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { hasCode } from '../report/errors.ts';
import type { InputStream } from './stdin.ts';

const stdin = 0;

/** stdin, read piece by piece. Node itself reads a terminal, and a stdin that another program made non-blocking. */
export function rawStdin(): InputStream {
  return fstatSync(stdin).isCharacterDevice() ? process.stdin : { [Symbol.asyncIterator]: pieces };
}

async function* pieces(): AsyncGenerator<Uint8Array, void> {
  const readSome = promisify(read);
  for (;;) {
    const buffer = Buffer.alloc(64 * 1024);
    try {
      const { bytesRead } = await readSome(stdin, buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    } catch (error) {
      if (!hasCode(error, 'EAGAIN')) throw error;
      for await (const piece of process.stdin) yield piece as Uint8Array;
      return;
    }
  }
}
