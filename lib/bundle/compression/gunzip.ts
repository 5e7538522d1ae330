// Decompresses gzip with Node's own zlib, in a thread of libuv. docs/decisions/0004-reading-frames.md says why.
import { pipeline, Readable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import { LostEndError } from '../lost-end-error.ts';
import { chunkSize, type Decompression, type StoredBytes } from './compression-format.ts';

/** Begins to decompress at once. */
export function gunzip(stored: StoredBytes): Decompression {
  const stream = startGunzip(stored);
  return { chunks: gunzipped(stream, stored), stop: () => stream.destroy() };
}

/** A caller that does not read the stream with `gunzipped` must destroy it. */
export function startGunzip({ chunks, buffered = 8 }: StoredBytes): Gunzip {
  const stream = createGunzip({
    chunkSize,
    // In object mode, a reader gets each chunk as it is; in byte mode, it would get all waiting chunks, copied together.
    // Only one chunk is written at a time. Otherwise the error for data that ends too early would replace the last chunk
    // instead of following it.
    ...{ readableObjectMode: true, readableHighWaterMark: buffered, writableHighWaterMark: 1 },
  });
  // Whoever iterates over the stream gets its errors. But zlib reports data that ends too early only when the pipeline
  // has ended and no longer listens, and Node.js ends a process for an 'error' event without a listener.
  stream.on('error', () => undefined);
  pipeline(Readable.from(chunks, { highWaterMark: 1 }), stream, () => undefined);
  return stream;
}

/** What `startGunzip` decompresses. @throws as `Decompression` says */
export async function* gunzipped(
  stream: Gunzip,
  { offset, length, endsInZeros }: StoredBytes,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    if (!isOfZlib(error)) throw error;
    // The error comes earlier than the data that was decompressed before it and still waits in the stream.
    for (let chunk = waiting(stream); chunk; chunk = waiting(stream)) yield chunk;
    const place = offset + stream.bytesWritten;
    throw new LostEndError(`the compressed data is damaged near byte ${place}: ${error.message}`, {
      cause: error,
    });
  }
  // zlib skips zeros after the last member.
  const end = offset + stream.bytesWritten;
  if (stream.bytesWritten === length || (await endsInZeros?.(end))) return;
  throw new BundleError(`something follows the compressed data, at byte ${end}`);
}

/** The next chunk of a stream that has failed. */
function waiting(stream: Gunzip): Buffer | null {
  return stream.read() as Buffer | null;
}

/** Excludes our own errors and the signal's. Does not use instanceof: under jest, Node's errors are of another realm. */
function isOfZlib(error: unknown): error is NodeJS.ErrnoException {
  const { code } = error as Partial<NodeJS.ErrnoException>;
  return typeof code === 'string' && code.startsWith('Z_');
}
