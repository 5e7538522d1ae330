// The only way in which a file is written at a place: completely, or with an error.
import type { FileHandle } from 'node:fs/promises';
import { FailedError } from '../../report/errors.ts';

/**
 * Writes all of `data` at `position`. A single write may take fewer bytes than asked, without an error, where a file
 * system or a quota is nearly used up: the rest is then written again, and that fails.
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
