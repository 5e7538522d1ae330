// Reads a bundle from a file on this machine, at any offset.
import { constants, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errorMessage, FailedError, hasCode, UsageError } from '../../report/errors.ts';
import type { BundleSource } from '../read/bundle.ts';

/**
 * Opens the file for reading.
 * @throws UsageError when there is no such file, or it is not a regular file; FailedError when it cannot be opened
 */
export async function openFileSource(path: string): Promise<BundleSource> {
  const { file, stats } = await openRegular(path);
  return {
    name: path,
    size: Number(stats.size),
    modified: stats.mtime,
    identity: { dev: stats.dev, ino: stats.ino },
    read: (offset, length) => readAt(file, path, offset, length),
    close: () => file.close(),
  };
}

async function openRegular(path: string): Promise<{ file: FileHandle; stats: BigIntStats }> {
  let file: FileHandle;
  try {
    // O_NONBLOCK, because opening a FIFO would wait for a writer.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const missing = hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR');
    if (missing) {
      const facts = { bundle: path };
      const code = 'bundle-not-found';
      throw new UsageError(`cannot open bundle ${path}: no such file`, { cause, code, facts });
    }
    throw new FailedError(`cannot open bundle ${path}: ${errorMessage(cause)}`, { cause });
  }
  const stats = await file.stat({ bigint: true });
  if (stats.isFile()) return { file, stats };
  await file.close();
  throw new UsageError(`cannot open bundle ${path}: it is not a regular file`);
}

async function readAt(file: FileHandle, path: string, offset: number, length: number) {
  // Not from Node's pool, because a slice that is kept would keep the whole pool in memory.
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const bytesRead = await readSome(file, path, buffer.subarray(filled), offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function readSome(file: FileHandle, path: string, into: Buffer, position: number) {
  try {
    return (await file.read(into, 0, into.length, position)).bytesRead;
  } catch (cause) {
    const what = `cannot read bundle ${path} at byte ${position}`;
    throw new FailedError(`${what}: ${errorMessage(cause)}`, { cause });
  }
}
