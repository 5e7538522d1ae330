// Decompresses gzip by Node's own zlib, in a thread of libuv. docs/decisions/0004-reading-frames.md says why.
import { pipeline, Readable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import { LostEndError } from '../lost-end-error.ts';
import { chunkSize, type Decompression, type StoredBytes } from './compression-format.ts';

/** Begins at once. */
export function gunzip(stored: StoredBytes): Decompression {
  const stream = startGunzip(stored);
  return { chunks: gunzipped(stream, stored), stop: () => stream.destroy() };
}

/** Whoever does not read what `gunzipped` gives destroys the stream. */
export function startGunzip({ chunks, buffered = 8 }: StoredBytes): Gunzip {
  const stream = createGunzip({
    chunkSize,
    // Chunks as they come: in byte mode a reader is given all that waits, copied together.
    // One of them goes in at a time: that the data end too early is told after the last one, not in its stead.
    ...{ readableObjectMode: true, readableHighWaterMark: buffered, writableHighWaterMark: 1 },
  });
  // Errors reach the one who iterates over the stream. zlib reports data that end too early only after the pipeline
  // has ended and listens no longer; Node ends a process for an 'error' event that nobody listens to.
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
    // The error overtakes what was decompressed before it and still waits in the stream.
    for (let chunk = waiting(stream); chunk; chunk = waiting(stream)) yield chunk;
    const place = offset + stream.bytesWritten;
    throw new LostEndError(`the compressed data is damaged near byte ${place}: ${error.message}`, {
      cause: error,
    });
  }
  // zlib passes over zeros that follow the last member.
  const end = offset + stream.bytesWritten;
  if (stream.bytesWritten === length || (await endsInZeros?.(end))) return;
  throw new BundleError(`something follows the compressed data, at byte ${end}`);
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
