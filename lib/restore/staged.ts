// Delivers a disk to OpenNebula as a file: written sparse into a private folder that lies in the
// datastores' SAFE_DIRS, registered by its path, and removed as soon as the image has taken it over.
import { randomBytes } from 'node:crypto';
import { chown, mkdir, open, rm, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleDisk } from '../bundle/bundle.ts';
import type { DiskFormat } from '../bundle/manifest.ts';
import { checkQcow2Header } from '../bundle/qcow2-check.ts';
import { BundleError, errorMessage, FailedError, hasCode, UsageError } from '../report/errors.ts';
import { formatBytes } from '../report/format.ts';
import type { ProgressTask } from '../report/progress.ts';
import type { Run } from '../run/run.ts';
import { disguiseOf } from '../tools/file-type.ts';
import { wrapInQcow2 } from '../tools/qemu-img.ts';
import { ownPrefix } from '../vm/names.ts';

const sectorSize = 512;
/** Kept free on the staging file system. */
const spaceMargin = 64 * 1024 * 1024;

export interface Staging {
  /** Writes one disk; the path is what OpenNebula is told. @throws FailedError, BundleError */
  stage(disk: BundleDisk, format: DiskFormat, task: ProgressTask): Promise<string>;
  /** Removes a staged disk. */
  drop(path: string): Promise<void>;
  /** Removes the folder. */
  close(): Promise<void>;
}

/**
 * Makes the private folder under `parent`, which is made too when it is missing.
 * Run as root, folder and files are given to the owner of `datastoreLocation`: oned's user has to read them.
 */
export async function openStaging(
  parent: string,
  run: Pick<Run, 'journal' | 'log' | 'runner' | 'signal' | 'datastoreLocation'>,
): Promise<Staging> {
  const folder = join(parent, `${ownPrefix}${randomBytes(8).toString('hex')}`);
  const owner = await readerOf(run.datastoreLocation);
  const entry = await run.journal.record({ kind: 'remove-folder', path: folder });
  try {
    const made = await makeUnlessThere(parent);
    if (owner && made) await chown(parent, owner.uid, owner.gid);
    await requireOurs(parent, owner?.uid);
    await mkdir(folder, { mode: 0o700 });
    if (owner) await chown(folder, owner.uid, owner.gid);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new FailedError(
      `cannot make a folder in ${parent} to restore the disks into: ${errorMessage(error)}`,
      { cause: error },
    );
  }
  return {
    async stage(disk, format, task) {
      const path = join(folder, `disk.${disk.id}`);
      const guise = await checkHead(disk, format, run.signal);
      await requireSpace(folder, disk);
      await writeDisk(disk, path, task, run.signal);
      if (disk.size === 0) {
        run.log.warn(
          `disk ${disk.id} has 0 bytes, which OpenNebula takes for no image; it is registered with one sector of zeros`,
        );
        await truncate(path, sectorSize);
      }
      if (owner) await chown(path, owner.uid, owner.gid);
      if (guise === undefined) return path;
      run.log.warn(
        `disk ${disk.id} is raw but begins like ${guise}; it is registered wrapped in qcow2 so that nothing takes it for one`,
      );
      const wrapped = join(folder, `disk.${disk.id}.qcow2`);
      await wrapInQcow2(run.runner, path, wrapped);
      if (owner) await chown(wrapped, owner.uid, owner.gid);
      await rm(path);
      return wrapped;
    },
    async drop(path) {
      await rm(path, { force: true });
    },
    async close() {
      await rm(folder, { recursive: true, force: true });
      await entry.done();
    },
  };
}

/** @returns whether the folder was made now. */
async function makeUnlessThere(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o755 });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** @throws UsageError when another user could exchange what lies in the folder. */
async function requireOurs(folder: string, readerUid: number | undefined): Promise<void> {
  const { uid, mode } = await stat(folder);
  const trusted = [0, process.geteuid?.(), readerUid].includes(uid);
  const sticky = (mode & 0o1000) !== 0;
  if (trusted && (sticky || (mode & 0o022) === 0)) return;
  throw new UsageError(
    `${folder} can be changed by other users, who could exchange the disks to restore; mend its owner and mode, or choose another folder with --staging-dir`,
  );
}

/** oned's user, when we are root and it is another; undefined when the files may stay ours. */
async function readerOf(
  datastoreLocation: string,
): Promise<{ uid: number; gid: number } | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  try {
    const { uid, gid } = await stat(datastoreLocation);
    return uid === 0 ? undefined : { uid, gid };
  } catch {
    return undefined;
  }
}

/** Refuses a qcow2 disk that names other files. @returns what a raw disk could be taken for. */
async function checkHead(
  disk: BundleDisk,
  format: DiskFormat,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (format === 'raw') return disguiseOf(disk, signal);
  const head = await disk.head();
  try {
    checkQcow2Header(head);
  } catch (error) {
    throw new BundleError(`disk ${disk.id} cannot be restored: ${errorMessage(error)}`, {
      cause: error,
    });
  }
  return undefined;
}

async function requireSpace(folder: string, disk: BundleDisk): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (disk.dataBytes + spaceMargin > free) {
    throw new FailedError(
      `disk ${disk.id} needs ${formatBytes(disk.dataBytes)} in ${folder}, but only ${formatBytes(free)} are free; choose another place with --staging-dir`,
    );
  }
}

async function writeDisk(
  disk: BundleDisk,
  path: string,
  task: ProgressTask,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.truncate(disk.size);
    for await (const { offset, data } of disk.pieces()) {
      signal.throwIfAborted();
      await file.write(data, 0, data.length, offset);
      task.add(data.length);
    }
  } catch (error) {
    if (error instanceof BundleError || signal.aborted) throw error;
    throw new FailedError(`cannot write disk ${disk.id} to ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  } finally {
    await file.close();
  }
}
