// Decompresses a part of a bundle's file as a stream. Nothing is decompressed that nobody asks for, so a small file that
// expands to terabytes does no harm.
import { BundleError } from '../../report/errors.ts';
import { chunkSize, type Decompression } from '../compression/compression-format.ts';
import { compressions, type Compression } from '../compression/compressions.ts';
import type { BundleSource } from './bundle.ts';
import { endsInZeros } from './zero-tail.ts';

/** Bytes of a file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface DecompressOptions {
  /** Zeros may follow the last frame, up to the end of the file. */
  readonly padded?: boolean;
  /** How many chunks may be decompressed ahead of the reader. */
  readonly buffered?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The decompressed bytes of a range: all its frames one after another.
 * @throws BundleError when they are damaged or incomplete, or when something follows the last of them
 */
export function decompress(
  source: BundleSource,
  range: ByteRange,
  compression: Compression,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  return decompressed(source, range, compression, { signal });
}

/** The decompressed bytes of a whole file; zeros after the last frame are skipped. @throws BundleError */
export function decompressFile(
  source: BundleSource,
  compression: Compression,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const range = { offset: 0, length: source.size };
  return decompressed(source, range, compression, { padded: true, signal });
}

/** Starts to decompress a range, ahead of the reader if the compression can do that. The caller stops it. */
export function startDecompressing(
  source: BundleSource,
  range: ByteRange,
  compression: Compression,
  { padded = false, signal, ...options }: DecompressOptions,
): Decompression {
  return compressions[compression].decompress({
    ...range,
    chunks: storedBytes(source, range, signal),
    ...(padded ? { endsInZeros: (offset: number) => endsInZeros(source, offset) } : {}),
    ...options,
    signal,
  });
}

async function* decompressed(
  source: BundleSource,
  range: ByteRange,
  compression: Compression,
  options: DecompressOptions,
): AsyncGenerator<Buffer> {
  const started = startDecompressing(source, range, compression, options);
  try {
    yield* started.chunks;
  } finally {
    started.stop();
  }
}

/** The bytes of a range as they are in the file. @throws BundleError when the file ends before the range does */
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
