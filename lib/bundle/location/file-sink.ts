// Writes a bundle to a local part file, which gets its name when it is complete.
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

/** Milliseconds that the export whose part file sorts first waits for another that began at the same time to give way. */
const giveWayMs = 500;

/**
 * Opens `part`, mode 0600, for a bundle that will be named `path`.
 * @param part the result of `partName(path)`
 * @throws UsageError when the folder is missing or not writable, FailedError when `path` or another part file of it exists,
 *   or when `part` cannot be created
 */
export async function createFileSink(path: string, part: string): Promise<BundleSink> {
  await requireFree(path);
  const file = await openPart(part);
  try {
    await requireAlone(path, part);
  } catch (error) {
    await file.close().catch(() => undefined);
    // If the part file cannot be removed now, the undo tries again and warns.
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
        await requireSameFile(file, part);
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
 * Gives way to another export that already writes the same bundle. When two exports have begun at once and see each other, the
 * one whose part file sorts first goes on, and the other fails at once.
 */
async function requireAlone(path: string, part: string): Promise<void> {
  const others = async (): Promise<readonly string[]> =>
    (await partsOf(path)).filter((candidate) => candidate !== part);
  let [other] = await others();
  if (other !== undefined && other > part) {
    await sleep(giveWayMs);
    [other] = await others();
  }
  if (other !== undefined) throw new FailedError(`cannot write ${path}: ${alreadyWritten(other)}`);
}

/** The reason why a bundle is not written when it has this part file. */
export function alreadyWritten(part: string): string {
  return `${part} exists: another export may be writing it`;
}

/** The part files of a bundle, sorted; none when the folder cannot be listed. */
export async function partsOf(path: string): Promise<readonly string[]> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => isPartOf(name, basename(path)))
    .map((name) => join(folder, name))
    .sort();
}

/**
 * Requires that the name still belongs to the file that was written: whoever can write to its folder could replace it.
 * @throws FailedError
 */
export async function requireSameFile(file: FileHandle, path: string): Promise<void> {
  const written = await file.stat({ bigint: true });
  const there = await lstat(path, { bigint: true }).catch(() => undefined);
  if (there?.ino === written.ino && there.dev === written.dev) return;
  throw new FailedError(`${path} was replaced or removed while it was being written`);
}

/**
 * Gives a finished file its name without ever replacing a file: link fails if the name is taken, and rename would overwrite.
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

/** For file systems without hard links (FAT, CIFS, many FUSE): reserves the name with an empty file, then replaces that. */
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

/** Syncs the names in a folder to storage. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems cannot sync a folder and do not need it.
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

/** Why a file could not be written, in words that a user understands. */
export function writeReason(error: unknown): string {
  if (hasCode(error, 'ENOSPC')) return 'no space left on the device';
  if (hasCode(error, 'EDQUOT')) return 'the disk quota is used up';
  if (hasCode(error, 'EFBIG')) return 'the file would be larger than the file system allows';
  if (hasCode(error, 'EEXIST')) return 'a file of this name has appeared in the meantime';
  return errorMessage(error);
}
