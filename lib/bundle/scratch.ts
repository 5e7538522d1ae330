// Scratch files: nameless files that hold frames on their way to and from a compressor.
import { randomBytes } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { open, statfs, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage, FailedError } from '../report/errors.ts';

const memoryFolder = '/dev/shm';

/** Where scratch files go: memory when it has room for `bytes`, else the folder for temporary files. */
export async function scratchFolder(bytes: number): Promise<string> {
  try {
    const { bavail, bsize } = await statfs(memoryFolder);
    if (bavail * bsize >= bytes) return memoryFolder;
  } catch {
    // No such folder, or not for us.
  }
  return tmpdir();
}

/** An empty file without a name: it is gone when it is closed, also when this process is killed. */
export async function createScratch(folder: string): Promise<FileHandle> {
  const path = join(folder, `onevmdump-${randomBytes(8).toString('hex')}`);
  try {
    const file = await open(path, 'wx+', 0o600);
    unlinkSync(path);
    return file;
  } catch (error) {
    throw new FailedError(`cannot create a scratch file in ${folder}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** Writes all of `data` at `position`. */
export async function writeAll(file: FileHandle, data: Uint8Array, position: number) {
  let done = 0;
  while (done < data.length) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}

/** Reads exactly `length` bytes from `position` into the front of `buffer`. */
export async function readAll(
  file: FileHandle,
  buffer: Uint8Array,
  length: number,
  position: number,
) {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) throw new FailedError('a scratch file is shorter than what was written');
    done += bytesRead;
  }
}
