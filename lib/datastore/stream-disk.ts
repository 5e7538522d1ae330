// Streams one disk of a bundle, holes as zeros. datastore/downloader.sh pipes it into an image datastore or to a host.
import type { Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import type { BundleDisk } from '../bundle/read/bundle.ts';
import type { OpenedBundle } from '../bundle/read/opened-bundle.ts';
import { layOutQcow2 } from '../qcow2/layout.ts';
import { Extents } from '../read/extents.ts';
import { encodeTpmArchive, parseTpmArchive } from '../bundle/format/tpm-archive.ts';
import { BundleError, FailedError, hasCode } from '../report/errors.ts';
import { formatOf, virtualSizeOf } from '../restore/restorable.ts';
import { memberOf } from '../restore/state-to-carry.ts';
import { disguiseOf } from '../bundle/read/file-type.ts';
import type { DiskForm } from './disk-url.ts';

const zeros = Buffer.alloc(1024 * 1024);
const clusterSize = 64 * 1024;
const sectorSize = 512;

/**
 * Writes a disk to `out`. When the reader closes the pipe early, this ends without an error, because downloader.sh first reads
 * only the head of a disk.
 * @throws BundleError when the bundle is damaged, FailedError when `out` cannot be written
 */
export async function streamDisk(
  bundle: OpenedBundle,
  disk: BundleDisk,
  form: DiskForm,
  out: Writable,
  signal: AbortSignal,
): Promise<void> {
  const write = writerTo(out);
  // Rejects a qcow2 disk that QEMU must not open, such as one that names other files.
  await virtualSizeOf(bundle, disk, 'restored');
  const isRaw = formatOf(bundle, disk) === 'raw';
  const disguised = form === 'image' && isRaw && (await disguiseOf(disk, signal)) !== undefined;
  const parts = disguised ? wrapped(disk) : content(disk);
  // OpenNebula does not accept an empty file as an image.
  if (form === 'image' && disk.size === 0) await write(zeros.subarray(0, sectorSize));
  for await (const part of parts) {
    signal.throwIfAborted();
    if (!(await write(part))) return;
  }
}

/**
 * Writes the state of the vTPM in the form that OpenNebula's own backups have: a tar archive compressed with gzip.
 * @throws BundleError when the bundle has none, or it is damaged; FailedError when `out` cannot be written
 */
export async function streamTpm(bundle: OpenedBundle, out: Writable): Promise<void> {
  const tpm = await memberOf(bundle, './tpm.tar');
  if (!tpm) throw new BundleError(`${bundle.name} does not hold the state of a vTPM`);
  // OpenNebula unpacks it into the VM's folder, so the archive is written anew with only what was parsed.
  await writerTo(out)(gzipSync(encodeTpmArchive(parseTpmArchive(tpm))));
}

/** The disk as it is in the bundle. */
async function* content(disk: BundleDisk): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const { offset, data } of disk.pieces()) {
    yield* hole(offset - at);
    yield data;
    at = offset + data.length;
  }
  yield* hole(disk.size - at);
}

/** A raw disk as a fully allocated qcow2 file. Its holes are not known before it is read, and this case is rare. */
async function* wrapped(disk: BundleDisk): AsyncGenerator<Uint8Array> {
  const size = Math.ceil(disk.size / sectorSize) * sectorSize;
  const layout = layOutQcow2(size, clusterSize, Extents.whole(size));
  yield* layout.metadata();
  yield* content(disk);
  yield* hole(size - disk.size + layout.padding);
}

function* hole(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
}

/** @returns a function that writes, and resolves to false when the reader has closed the pipe */
function writerTo(out: Writable): (data: Uint8Array) => Promise<boolean> {
  return (data) =>
    new Promise((resolve, reject) => {
      out.write(data, (error) => {
        if (!error) resolve(true);
        else if (hasCode(error, 'EPIPE') || hasCode(error, 'ERR_STREAM_DESTROYED')) resolve(false);
        else reject(new FailedError(`cannot write the disk: ${error.message}`));
      });
    });
}
