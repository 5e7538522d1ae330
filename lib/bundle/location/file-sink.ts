// A bundle as a local file: written as a part file, and given its name when it is whole.
import { link, lstat, open, readdir, rename, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  errorMessage,
  FailedError,
  hasCode,
  OnevmdumpError,
  UsageError,
} from '../../report/errors.ts';
import { isPartOf } from '../../vm/names.ts';
import type { BundleSink } from '../sink.ts';
import { writeAll } from '../write/write-all.ts';

/** How long one that was first by its name waits for another that has begun at the same time to give way, in ms. */
const giveWayMs = 500;

/**
 * Opens `part`, mode 0600, for a bundle that will be `path`.
 * @param part a name that `partName` gave for `path`
 * @throws UsageError when the folder is missing or not writable, FailedError when `path` or a part file
 *   of it exists, or when it cannot be created
 */
export async function createFileSink(path: string, part: string): Promise<BundleSink> {
  await requireFree(path);
  const file = await openPart(part);
  try {
    await requireAlone(path, part);
  } catch (error) {
    await file.close().catch(() => undefined);
    // What cannot be removed now is tried again by the undo, which warns of it.
    await unlinkIfThere(part).catch(() => undefined);
    throw error;
  }
  let position = 0;
  let state: 'writing' | 'named' | 'ended' = 'writing';

  return {
    name: path,

    async write(data) {
      await doing(`write ${part}`, () => writeAll(file, data, position));
      position += data.length;
    },

    async commit() {
      await doing(`write ${part}`, async () => {
        await file.sync();
        await file.close();
      });
      await doing(`give the bundle its name ${path}`, () => giveName(part, path));
      state = 'named';
      await doing(`write the folder ${dirname(path)}`, () => syncFolder(dirname(path)));
      state = 'ended';
    },

    async discard() {
      if (state === 'ended') return;
      const written = state === 'named' ? path : part;
      state = 'ended';
      await file.close().catch(() => undefined);
      await doing(`remove ${written}`, () => unlinkIfThere(written));
    },
  };
}

async function openPart(part: string): Promise<FileHandle> {
  try {
    return await open(part, 'wx', 0o600);
  } catch (error) {
    const cause = { cause: error };
    const begin = `cannot create ${part}`;
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) {
      throw new UsageError(`${begin}: there is no folder ${dirname(part)}`, cause);
    }
    if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM') || hasCode(error, 'EROFS')) {
      throw new UsageError(`${begin}: ${dirname(part)} is not writable for this user`, cause);
    }
    throw new FailedError(`${begin}: ${writeReason(error)}`, cause);
  }
}

async function requireFree(path: string): Promise<void> {
  const taken = await lstat(path).then(
    () => true,
    () => false,
  );
  if (taken) throw new FailedError(`cannot write ${path}: it exists already`);
}

/**
 * Another export that has begun to write the same bundle keeps it. When two have begun at once, and see each other, the
 * first by name keeps it: the other gives way at once.
 */
async function requireAlone(path: string, part: string): Promise<void> {
  const others = async (): Promise<readonly string[]> =>
    (await partsOf(path)).filter((one) => one !== part);
  let [other] = await others();
  if (other !== undefined && other > part) {
    await sleep(giveWayMs);
    [other] = await others();
  }
  if (other !== undefined) throw new FailedError(`cannot write ${path}: ${isWritten(other)}`);
}

/** Why a bundle is not written: it has this part file already. */
export function isWritten(part: string): string {
  return `${part} exists: another export may be writing it`;
}

/** The part files of a bundle, first by name first; none where the folder cannot be listed. */
export async function partsOf(path: string): Promise<readonly string[]> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => isPartOf(name, basename(path)))
    .map((name) => join(folder, name))
    .sort();
}

/**
 * Gives a finished file its name and never replaces a file: a link to a taken name fails, where a rename would overwrite it.
 * @throws Node's system error; EEXIST when the name is taken
 */
export async function giveName(part: string, path: string): Promise<void> {
  try {
    await link(part, path);
    await unlink(part);
  } catch (error) {
    const noLinks = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];
    if (!noLinks.some((code) => hasCode(error, code))) throw error;
    await renameOverPlaceholder(part, path);
  }
}

/** For file systems without hard links (FAT, CIFS, many FUSE): the name is taken, then replaced. */
async function renameOverPlaceholder(part: string, path: string): Promise<void> {
  const placeholder = await open(path, 'wx', 0o600);
  await placeholder.close();
  try {
    await rename(part, path);
  } catch (error) {
    await unlinkIfThere(path);
    throw error;
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

/** Flushes the names in a folder. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems cannot sync a folder, and need not.
    if (!hasCode(error, 'EINVAL') && !hasCode(error, 'ENOTSUP')) throw error;
  } finally {
    await folder.close();
  }
}

async function doing<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof OnevmdumpError) throw error;
    throw new FailedError(`cannot ${what}: ${writeReason(error)}`, { cause: error });
  }
}

/** Why a file could not be written, in words: Node's own name of a system error is not for a user. */
export function writeReason(error: unknown): string {
  if (hasCode(error, 'ENOSPC')) return 'no space left on the device';
  if (hasCode(error, 'EDQUOT')) return 'the disk quota is used up';
  if (hasCode(error, 'EFBIG')) return 'the file would be larger than the file system allows';
  if (hasCode(error, 'EEXIST')) return 'a file of this name has appeared meanwhile';
  return errorMessage(error);
}
