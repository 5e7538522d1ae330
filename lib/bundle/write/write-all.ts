// Every write at a position of a file uses this function: it writes everything, or throws.
import type { FileHandle } from 'node:fs/promises';
import { FailedError } from '../../report/errors.ts';

/**
 * Writes all of `data` at `position`. If a file system or a quota is nearly full, a single write may write fewer bytes
 * than requested, without an error. The rest is then written by another write, which fails.
 * @throws Node's system error, such as ENOSPC
 */
export async function writeAll(
  file: FileHandle,
  data: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < data.length;) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    if (bytesWritten === 0) throw new FailedError('the file takes no more bytes');
    done += bytesWritten;
  }
}
