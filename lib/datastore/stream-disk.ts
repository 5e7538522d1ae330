// One disk of a bundle as a stream of the whole file, holes as zeros: what datastore/downloader.sh pipes
// into an image datastore or to a host.
import type { Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import type { BundleDisk } from '../bundle/read/bundle.ts';
import type { OpenedBundle } from '../bundle/read/opened-bundle.ts';
import { layOutQcow2 } from '../qcow2/layout.ts';
import { encodeTpmArchive, parseTpmArchive } from '../bundle/format/tpm-archive.ts';
import { BundleError, FailedError, hasCode } from '../report/errors.ts';
import { formatOf, virtualSizeOf } from '../restore/restorable.ts';
import { memberOf } from '../restore/state-to-carry.ts';
import { disguiseOf } from '../bundle/read/file-type.ts';
import type { DiskForm } from './disk-url.ts';

const zeros = Buffer.alloc(1024 * 1024);
const clusterSize = 64 * 1024;

/**
 * Writes a disk to `out`. A reader that goes away early ends it without an error: downloader.sh looks at
 * the head of a disk first.
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
  // Refuses what QEMU must not be let at.
  await virtualSizeOf(bundle, disk, 'restored');
  const isRaw = formatOf(bundle, disk) === 'raw';
  const disguised = form === 'image' && isRaw && (await disguiseOf(disk, signal)) !== undefined;
  const parts = disguised ? wrapped(disk) : content(disk);
  for await (const part of parts) {
    signal.throwIfAborted();
    if (!(await write(part))) return;
  }
}

/**
 * Writes the state of the vTPM, as OpenNebula's own backups have it: a tar archive, compressed by gzip.
 * @throws BundleError when the bundle has none or it is damaged, FailedError when `out` cannot be written
 */
export async function streamTpm(bundle: OpenedBundle, out: Writable): Promise<void> {
  const tpm = await memberOf(bundle, './tpm.tar');
  if (!tpm) throw new BundleError(`${bundle.name} does not hold the state of a vTPM`);
  // OpenNebula unpacks it into the VM's folder.
  await writerTo(out)(gzipSync(encodeTpmArchive(parseTpmArchive(tpm))));
}

/** The file as it is. */
async function* content(disk: BundleDisk): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const { offset, data } of disk.pieces()) {
    yield* hole(offset - at);
    yield data;
    at = offset + data.length;
  }
  yield* hole(disk.size - at);
}

/** A raw disk inside a qcow2 file, all of it allocated: this is rare, and its map is not known before. */
async function* wrapped(disk: BundleDisk): AsyncGenerator<Uint8Array> {
  const size = Math.ceil(disk.size / 512) * 512;
  const layout = layOutQcow2(size, clusterSize, [{ offset: 0, length: size }]);
  yield* layout.metadata();
  yield* content(disk);
  yield* hole(size - disk.size + layout.padding);
}

function* hole(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
}

/** @returns a function that writes and says whether somebody still reads */
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
