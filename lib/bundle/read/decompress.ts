// A part of a bundle's file as the bytes it was compressed from, as a stream: nothing is unpacked
// that nobody asks for, so a small file that stands for terabytes does no harm.
import { pipeline, Readable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';
import { BundleError, CommandError, errorMessage } from '../../report/errors.ts';
import { unzstd } from '../../tools/unzstd.ts';
import type { BundleSource } from './bundle.ts';
import { LostEndError } from './lost-end.ts';
import type { Compression } from '../format/manifest.ts';
import { endsInZeros } from './zero-tail.ts';
import { withoutZeroTail } from './zstd-end.ts';

/** Bytes of a file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Bytes; as fast as larger ones, and what waits in buffers stays small. */
export const chunkSize = 256 * 1024;

/**
 * The decompressed bytes of a range: all its gzip members or zstd frames one after another.
 * @throws BundleError when they are damaged or incomplete, or when something follows the last of them
 */
export function decompress(
  source: BundleSource,
  range: ByteRange,
  compression: Compression,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  return decompressed(source, range, compression, { padded: false, signal });
}

/** The decompressed bytes of a whole file; zeros behind its end are passed over. @throws BundleError */
export function decompressFile(
  source: BundleSource,
  compression: Compression,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const range = { offset: 0, length: source.size };
  return decompressed(source, range, compression, { padded: true, signal });
}

async function* decompressed(
  source: BundleSource,
  range: ByteRange,
  compression: Compression,
  { padded, signal }: { readonly padded: boolean; readonly signal: AbortSignal | undefined },
): AsyncGenerator<Buffer> {
  switch (compression) {
    case 'none':
      // Through a stream, which reads ahead while the caller works.
      yield* Readable.from(storedBytes(source, range, signal), { highWaterMark: 4 });
      return;
    case 'gzip':
      yield* gunzippedBytes(startGunzip(source, range, signal), range, padded ? source : undefined);
      return;
    case 'zstd':
      yield* unzstdBytes(source, range, padded, signal);
  }
}

/** The bytes of a range as they are in the file. @throws BundleError when the file ends before */
async function* storedBytes(
  source: BundleSource,
  { offset, length }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  for (let done = 0; done < length;) {
    signal?.throwIfAborted();
    const chunk = await source.read(offset + done, Math.min(chunkSize, length - done));
    if (chunk.length === 0) throw new BundleError(`the file ends early, at byte ${offset + done}`);
    yield chunk;
    done += chunk.length;
  }
}

/**
 * Begins to decompress a range, in a thread of libuv, until `buffered` chunks wait to be taken by
 * `gunzippedBytes`. Whoever does not take them destroys the stream.
 */
export function startGunzip(
  source: BundleSource,
  range: ByteRange,
  signal?: AbortSignal,
  buffered = 8,
): Gunzip {
  const gunzip = createGunzip({
    chunkSize,
    // Chunks as they come: in byte mode a reader is given all that waits, copied together.
    // One of them goes in at a time: that the data end too early is told after the last one, not in its stead.
    ...{ readableObjectMode: true, readableHighWaterMark: buffered, writableHighWaterMark: 1 },
  });
  // Errors reach the one who iterates over the stream. zlib reports data that end too early only after the pipeline
  // has ended and listens no longer; Node ends a process for an 'error' event that nobody listens to.
  gunzip.on('error', () => undefined);
  pipeline(
    Readable.from(storedBytes(source, range, signal), { highWaterMark: 1 }),
    gunzip,
    () => undefined,
  );
  return gunzip;
}

/**
 * What `startGunzip` decompresses.
 * @param padded the file, where zeros may follow the last member
 */
export async function* gunzippedBytes(
  gunzip: Gunzip,
  { offset, length }: ByteRange,
  padded?: BundleSource,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of gunzip) yield chunk as Buffer;
  } catch (error) {
    if (!isOfZlib(error)) throw error;
    // The error overtakes what was decompressed before it and still waits in the stream.
    for (let chunk = waiting(gunzip); chunk; chunk = waiting(gunzip)) yield chunk;
    const place = offset + gunzip.bytesWritten;
    throw damaged(error, `the compressed data is damaged near byte ${place}`);
  }
  // zlib passes over zeros that follow the last member.
  const end = offset + gunzip.bytesWritten;
  if (gunzip.bytesWritten === length || (padded && (await endsInZeros(padded, end)))) return;
  throw new BundleError(`something follows the compressed data, at byte ${end}`);
}

async function* unzstdBytes(
  source: BundleSource,
  range: ByteRange,
  padded: boolean,
  signal: AbortSignal | undefined,
) {
  const stored = storedBytes(source, range, signal);
  try {
    yield* unzstd(padded ? withoutZeroTail(stored) : stored, signal);
  } catch (error) {
    // Without a status zstd was not even started: that says nothing about the bundle.
    if (!(error instanceof CommandError) || error.status === undefined) throw error;
    const { offset, length } = range;
    const place = `bytes ${offset} to ${offset + length}`;
    const words = error.stderr.trim() || errorMessage(error);
    throw new LostEndError(`the compressed data is damaged within ${place}: ${words}`, {
      cause: error,
    });
  }
}

/** The next chunk of a stream that has failed. */
function waiting(stream: Gunzip): Buffer | null {
  return stream.read() as Buffer | null;
}

/** Not an error of ours, or the signal's. Not by instanceof: under jest, Node's own errors are of another realm. */
function isOfZlib(error: unknown): error is NodeJS.ErrnoException {
  const { code } = error as Partial<NodeJS.ErrnoException>;
  return typeof code === 'string' && code.startsWith('Z_');
}

function damaged(error: NodeJS.ErrnoException, what: string): BundleError {
  return new LostEndError(`${what}: ${error.message}`, { cause: error });
}
