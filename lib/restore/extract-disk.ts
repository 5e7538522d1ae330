// Extracts one disk of a bundle into a sparse file. Checksums are verified while the disk is read, and the file appears
// only when it is complete.
import { lstat, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Bundle, BundleDisk, FileIdentity } from '../bundle/read/bundle.ts';
import {
  giveName,
  requireSameFile,
  syncFolder,
  writeReason,
} from '../bundle/location/file-sink.ts';
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { looksLike, probedBytes } from '../bundle/read/disguised-disk.ts';
import { writeAll } from '../bundle/write/write-all.ts';
import { FailedError, OnevmdumpError, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Progress } from '../report/progress.ts';
import { bundleVm, diskOf, formatOf, virtualSizeOf } from './restorable.ts';
import { requireDeclaredSize, requireWholeFile } from './whole-disk.ts';
import type { Journal } from '../run/journal.ts';
import { localRunner } from '../run/local-runner.ts';
import { convertImage } from '../tools/qemu-img.ts';
import { removeFile } from '../run/undo-kinds.ts';
import { longestFileName, partName } from '../vm/names.ts';

/** The file that is written. */
export interface Target {
  /** Its path. */
  readonly file: string;
  /** Whether a file of this name is replaced. */
  readonly force: boolean;
  /** The bundle that is read, which must not be replaced; undefined when it is on another machine. */
  readonly source: FileIdentity | undefined;
}

export interface ExtractRequest extends Target {
  readonly bundle: Bundle;
  readonly diskId: number;
  /** The format to write; undefined: the format that the disk has in the bundle. */
  readonly format: DiskFormat | undefined;
}

export interface ExtractContext {
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Records the undo of a part file before it is made, so that `cleanup` removes it if the process is killed. */
  readonly record: Journal['record'];
}

/** What --json prints. */
export interface ExtractReport {
  readonly bundle: string;
  readonly disk: number;
  readonly file: string;
  readonly format: DiskFormat;
  /** The size of the disk as its guest sees it, in bytes. */
  readonly virtualSize: number;
  /** The checksum of the disk's data in the manifest, which was verified; null in a bundle without a manifest. */
  readonly checksum: string | null;
  /** Why the bundle ends early; null when it is complete. */
  readonly cut: string | null;
}

/**
 * Extracts the disk. The file gets its name when it is complete and synced to storage.
 * @throws UsageError when the file exists already or is the bundle, BundleError when the bundle is damaged, FailedError. Then
 *   no new file is left, and an existing one is unchanged
 */
export async function extractDisk(
  { bundle, diskId, format, ...target }: ExtractRequest,
  { log, signal, progress, record }: ExtractContext,
): Promise<ExtractReport> {
  const { file } = target;
  const disk = diskOf(bundle, diskId);
  const stored = formatOf(bundle, disk);
  const written = format ?? stored;
  const virtualSize = await virtualSizeOf(bundle, disk, 'extracted');
  if (disk.format === undefined) {
    const inXml = bundleVm(bundle).disks.find(({ id }) => id === diskId);
    if (inXml) await requireDeclaredSize(inXml, disk, stored);
  }
  await requireFree(target);
  const runner = localRunner(log, signal);
  await writeWhole(target, record, async (part, own) => {
    if (written === stored) {
      await writeDisk(disk, own, { signal, progress });
      if (stored === 'qcow2') await requireWholeFile(disk, part, runner);
      return;
    }
    const original = `${part}.${stored}`;
    const entry = await record(removeFile.undo({ path: original }));
    try {
      const whole = await open(original, 'wx', 0o600);
      try {
        await writeDisk(disk, whole, { signal, progress });
      } finally {
        await whole.close();
      }
      if (stored === 'qcow2') await requireWholeFile(disk, original, runner);
      // qemu-img keeps the mode of the part file, so nobody else can read the disk at any moment.
      await convertImage(runner, [stored, original], [written, part]);
    } finally {
      await rm(original, { force: true });
    }
    await entry.done();
  });
  const guise = written === 'raw' ? await disguiseOfFile(file) : undefined;
  if (guise !== undefined) {
    log.warn(
      `disk ${diskId} is raw but begins like ${guise}: tell every tool that opens ${file} that its format is raw`,
    );
  }
  const facts = bundle.manifest?.disks.find(({ id }) => id === diskId);
  return {
    bundle: bundle.name,
    disk: diskId,
    file,
    format: written,
    virtualSize,
    checksum: facts?.checksum ?? null,
    cut: bundle.cut ?? null,
  };
}

/**
 * Writes a small file, such as the VM's XML, in the same way as a disk.
 * @throws UsageError when the file exists already, FailedError
 */
export async function extractBytes(
  bytes: Uint8Array,
  target: Target,
  record: Journal['record'],
): Promise<void> {
  await requireFree(target);
  await writeWhole(target, record, (_part, file) => writeAll(file, bytes, 0));
}

/** Bytes by which the name of a disk before its conversion is longer: `.qcow2`. */
const formatSuffix = 6;

/**
 * Called before anything is read. A device or a folder is never replaced.
 * @throws UsageError
 */
async function requireFree({ file, force, source }: Target): Promise<void> {
  if (Buffer.byteLength(basename(file)) > longestFileName - formatSuffix) {
    throw new UsageError(
      `cannot write ${file}: its name has more than ${longestFileName - formatSuffix} bytes, and a longer one is used while it is written`,
    );
  }
  const there = await lstat(file, { bigint: true }).catch(() => undefined);
  if (!there) {
    const folder = await stat(dirname(file)).catch(() => undefined);
    if (folder?.isDirectory() !== true) {
      throw new UsageError(`cannot write ${file}: there is no folder ${dirname(file)}`);
    }
    return;
  }
  if (!force) {
    throw new UsageError(`cannot write ${file}: it exists already (--force replaces it)`, {
      code: 'file-exists',
      facts: { file },
    });
  }
  if (there.dev === source?.dev && there.ino === source.ino) {
    throw new UsageError(`cannot write ${file}: it is the bundle itself`);
  }
  if (!there.isFile()) throw new UsageError(`cannot write ${file}: it is not a regular file`);
}

/** Calls `write` with the name of a part file in the same folder, and renames it to `file`. Removes it after a failure. */
async function writeWhole(
  { file, force }: Target,
  record: Journal['record'],
  write: (part: string, file: FileHandle) => Promise<void>,
): Promise<void> {
  const part = partName(file);
  const entry = await record(removeFile.undo({ path: part }));
  try {
    const own = await open(part, 'wx', 0o600);
    try {
      await write(part, own);
      await own.sync();
      await requireSameFile(own, part);
    } finally {
      await own.close();
    }
    if (force) await rename(part, file);
    else await giveName(part, file);
    await syncFolder(dirname(file));
  } catch (error) {
    // If the part file cannot be removed now, the undo tries again and warns.
    await rm(part, { force: true }).catch(() => undefined);
    if (error instanceof OnevmdumpError) throw error;
    throw new FailedError(`cannot write ${file}: ${writeReason(error)}`, { cause: error });
  }
  await entry.done();
}

/** The format that a tool that probes formats would see in a raw file; undefined for none. */
async function disguiseOfFile(path: string): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(probedBytes), 0, probedBytes, 0);
    return looksLike(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

async function writeDisk(
  disk: BundleDisk,
  file: FileHandle,
  { signal, progress }: Pick<ExtractContext, 'signal' | 'progress'>,
): Promise<void> {
  const task = progress.begin(`disk ${disk.id}`, disk.dataBytes);
  try {
    await file.truncate(disk.size);
    for await (const { offset, data } of disk.pieces()) {
      signal.throwIfAborted();
      await writeAll(file, data, offset);
      task.add(data.length);
    }
  } finally {
    task.end();
  }
}
