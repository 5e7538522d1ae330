// Delivers disks to OpenNebula as sparse files in a private folder, which must be in the datastores' SAFE_DIRS. Each file
// is registered by its path, and removed as soon as OpenNebula has copied it into the image.
import { lchown, open, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BundleDisk } from '../bundle/read/bundle.ts';
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { standAloneHeader } from '../bundle/read/qcow2-disk.ts';
import { BundleError, errorMessage, FailedError } from '../report/errors.ts';
import { formatBytes } from '../report/format.ts';
import type { ProgressTask } from '../report/progress.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import { disguiseOf } from '../bundle/read/file-type.ts';
import { wrapInQcow2 } from '../tools/qemu-img.ts';
import type { Delivery } from './delivery.ts';
import type { ImagePlan } from './image-plan.ts';
import { requireSafeFolder } from './safe-folder.ts';
import { requireWholeFile } from './whole-disk.ts';
import { makeStagingFolder, stagingOwner, type FileOwner } from './staging-folder.ts';
import { writeAll } from '../bundle/write/write-all.ts';

const sectorSize = 512;
/** Kept free on the staging file system. */
const spaceMargin = 64 * 1024 * 1024;

/**
 * Stages disks in a new folder under `parent`, which is made with the first disk. When run as root, folder and files are
 * given to the owner of `datastoreLocation`, because oned's user has to read them.
 */
export function stagedDelivery(
  parent: string,
  run: Pick<Run, 'journal' | 'log' | 'progress' | 'runner' | 'datastoreLocation'>,
): Delivery {
  let staging: Promise<Staging> | undefined;
  // Finding out what a disk looks like reads some MiB of it, so the result is kept.
  const guises = new Map<BundleDisk, Promise<string | undefined>>();
  const guise = ({ source, format }: ImagePlan, signal: AbortSignal) => {
    const known = guises.get(source) ?? guiseOf(source, format, signal);
    guises.set(source, known);
    return known;
  };
  return {
    waitsForImages: true,
    async check() {
      await stagingOwner(run.datastoreLocation);
    },
    prepare(images) {
      for (const datastore of new Set(images.values())) requireSafeFolder(datastore, parent);
      return Promise.resolve();
    },
    async hasRoomFor(plan, signal) {
      if (!staging) return true;
      const needed = neededBytes(plan.source, await guise(plan, signal));
      return needed <= (await freeBytes((await staging).folder));
    },
    async deliver(plan, signal) {
      staging ??= openStaging(parent, run);
      const { folder, owner } = await staging;
      const task = run.progress.begin(`disk ${plan.disk.id}`, plan.source.dataBytes);
      try {
        const { format } = plan;
        const options = {
          folder,
          owner,
          format,
          guise: await guise(plan, signal),
          run,
          task,
          signal,
        };
        return { path: await stage(plan.source, options) };
      } finally {
        task.end();
      }
    },
    async drop({ path }) {
      await rm(path, { force: true });
    },
    explained: (error) => error,
    async close() {
      if (!staging) return;
      const { folder, entry } = await staging;
      await rm(folder, { recursive: true, force: true });
      await entry.done();
    },
  };
}

interface Staging {
  readonly folder: string;
  readonly owner: FileOwner | undefined;
  readonly entry: JournalEntry;
}

async function openStaging(
  parent: string,
  { journal, datastoreLocation }: Pick<Run, 'journal' | 'datastoreLocation'>,
): Promise<Staging> {
  const owner = await stagingOwner(datastoreLocation);
  return { owner, ...(await makeStagingFolder(parent, owner, journal)) };
}

interface StageOptions extends Pick<Staging, 'folder' | 'owner'> {
  readonly format: DiskFormat;
  /** The format that the raw disk looks like (`guiseOf`). */
  readonly guise: string | undefined;
  readonly run: Pick<Run, 'log' | 'runner'>;
  readonly task: ProgressTask;
  readonly signal: AbortSignal;
}

/** Writes one disk. @returns its path. @throws FailedError, BundleError */
async function stage(
  disk: BundleDisk,
  { folder, owner, format, guise, run, task, signal }: StageOptions,
): Promise<string> {
  const path = join(folder, `disk.${disk.id}`);
  await requireSpace(folder, disk, guise);
  await writeDisk(disk, path, { owner, task, signal });
  if (format === 'qcow2') await requireWholeFile(disk, path, run.runner);
  if (disk.size === 0) {
    run.log.warn(
      `disk ${disk.id} has 0 bytes, which OpenNebula does not accept as an image; it is registered with one sector of zeros`,
    );
  }
  if (guise === undefined) return path;
  run.log.warn(
    `disk ${disk.id} is raw but begins like ${guise}; it is registered wrapped in qcow2 so that no program mistakes it for one`,
  );
  const wrapped = join(folder, `disk.${disk.id}.qcow2`);
  await wrapInQcow2(run.runner, path, wrapped);
  if (owner) await lchown(wrapped, owner.uid, owner.gid);
  await rm(path);
  return wrapped;
}

/** The other format that a raw disk looks like. @throws BundleError for a qcow2 disk that names other files */
async function guiseOf(
  disk: BundleDisk,
  format: DiskFormat,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (format === 'raw') return disguiseOf(disk, signal);
  await standAloneHeader(disk, 'restored');
  return undefined;
}

/** Wrapping needs room for the disk twice until the copy is complete. */
function neededBytes(disk: BundleDisk, guise: string | undefined): number {
  return disk.dataBytes * (guise === undefined ? 1 : 2) + spaceMargin;
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

async function requireSpace(
  folder: string,
  disk: BundleDisk,
  guise: string | undefined,
): Promise<void> {
  const [needed, free] = [neededBytes(disk, guise), await freeBytes(folder)];
  if (needed <= free) return;
  throw new FailedError(
    `disk ${disk.id} needs ${formatBytes(needed)} in ${dirname(folder)}, but only ${formatBytes(free)} are free; choose another folder with --staging-dir`,
    { code: 'no-space', facts: { diskId: disk.id, freeBytes: free, neededBytes: needed } },
  );
}

/** Works on the open file only, because the owner of the folder could replace the file by a symbolic link. */
async function writeDisk(
  disk: BundleDisk,
  path: string,
  { owner, task, signal }: Pick<StageOptions, 'owner' | 'task' | 'signal'>,
): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    if (owner) await file.chown(owner.uid, owner.gid);
    await file.truncate(disk.size === 0 ? sectorSize : disk.size);
    for await (const { offset, data } of disk.pieces()) {
      signal.throwIfAborted();
      await writeAll(file, data, offset);
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
