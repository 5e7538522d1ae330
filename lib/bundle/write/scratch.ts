// Scratch files: files without a name that hold frames before and after compression.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { open, statfs, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage, FailedError, hasCode } from '../../report/errors.ts';
import { writeAll } from './write-all.ts';

const memoryFolder = '/dev/shm';

/** The folder for scratch files: in memory if that has room for `bytes`, otherwise the one for temporary files. */
export async function scratchFolder(bytes: number): Promise<string> {
  try {
    const { bavail, bsize } = await statfs(memoryFolder);
    if (bavail * bsize >= bytes) return memoryFolder;
  } catch {
    // There is no such folder, or this user cannot use it.
  }
  return tmpdir();
}

/** Creates an empty file without a name. It is gone when it is closed or this process is killed. */
export async function createScratch(folder: string): Promise<FileHandle> {
  const path = join(folder, `onevmdump-${randomBytes(8).toString('hex')}`);
  try {
    // Synchronous calls, with nothing between them: after a kill between them, the name would stay for ever.
    const fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    try {
      return await open(`/proc/self/fd/${fd}`, 'r+');
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new FailedError(`cannot create a scratch file in ${folder}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** `writeAll` for scratch files. @throws FailedError in plain words */
export async function writeScratch(file: FileHandle, data: Uint8Array, position: number) {
  try {
    await writeAll(file, data, position);
  } catch (error) {
    const why = hasCode(error, 'ENOSPC') ? 'no space left on the device' : errorMessage(error);
    throw new FailedError(`cannot write a scratch file: ${why}`, { cause: error });
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
