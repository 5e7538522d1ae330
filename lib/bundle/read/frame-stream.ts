// Reads the tar stream of some frames of an indexed bundle. The length and the CRC-32 of each frame are checked against
// the index. If the compression allows it, several frames are decompressed at a time.
import { availableParallelism } from 'node:os';
import { crc32 } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import {
  chunkSize,
  frameEndSize,
  type CompressionFormat,
  type Decompression,
} from '../compression/compression-format.ts';
import { compressions, type Compression } from '../compression/compressions.ts';
import type { Frame, FrameList } from '../format/manifest.ts';
import type { BundleSource } from './bundle.ts';
import { ByteReader } from './byte-reader.ts';
import { decompress, startDecompressing, type ByteRange } from './decompress.ts';
import { suitThreads, threadedFrames } from './threaded-frames.ts';

export interface FrameStreamOptions {
  /** For messages: `disk 0`. */
  readonly label: string;
  /** How many frames are decompressed at the same time; default: as many as make it faster. */
  readonly parallel?: number;
  /** The number of the first frame in its member, for messages; default 0. */
  readonly first?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A frame takes up to 32 MiB while it waits, and libuv has four threads for decompression and all file access. */
const mostParallel = Math.max(1, Math.min(3, availableParallelism()));
/** The most bytes of the tar stream in frames that are decompressed at the same time; a single frame may have more. */
const mostAhead = 32 * 1024 * 1024;
/** Pieces of a disk must not be larger. */
const largestChunk = 1024 * 1024;

/**
 * The bytes of frames that follow one another without gaps. A chunk is valid until the next one is asked for.
 * @throws BundleError that names the first frame that is damaged
 */
export async function* frameBytes(
  source: BundleSource,
  compression: Compression,
  frames: FrameList,
  options: FrameStreamOptions,
): AsyncGenerator<Buffer> {
  const { frameEnd } = compressions[compression];
  if (compression !== 'none' && options.parallel !== 1 && suitThreads(frames)) {
    yield* framesByThreads(source, compression, frames, options);
  } else if (frameEnd) yield* framesAlone(source, compression, frameEnd, frames, options);
  else yield* framesInOneStream(source, compression, frames, options);
}

/** The error for a frame that is damaged. */
export class FrameError extends BundleError {
  /** The number of the frame in its member. */
  readonly index: number;
  constructor(label: string, index: number, [offset]: Frame, reason: unknown) {
    const text = reason instanceof BundleError ? reason.message : String(reason);
    super(`${label}, frame ${index} at byte ${offset}: ${text}`, {
      facts: { frame: index, offset },
      cause: reason,
    });
    this.index = index;
  }
}

/** The error for a frame; `index` is its number in the member. A reason that is not about the bundle stays as it is. */
function frameError(label: string, index: number, frame: Frame, reason: unknown): unknown {
  if (typeof reason !== 'string' && !(reason instanceof BundleError)) return reason;
  return new FrameError(label, index, frame, reason);
}

async function* framesByThreads(
  source: BundleSource,
  compression: Compression,
  frames: FrameList,
  { label, first = 0, signal }: FrameStreamOptions,
): AsyncGenerator<Buffer> {
  const error = (index: number, reason: unknown): unknown => {
    const frame = frames.at(index);
    return frame ? frameError(label, first + index, frame, reason) : reason;
  };
  for await (const content of threadedFrames(source, compression, frames, signal, error)) {
    for (let at = 0; at < content.length; at += largestChunk) {
      yield content.subarray(at, at + largestChunk);
    }
  }
}

/** Decompresses each frame separately, and some of them before they are asked for. */
async function* framesAlone(
  source: BundleSource,
  compression: Compression,
  frameEnd: FrameEnd,
  frames: FrameList,
  { label, parallel = mostParallel, first = 0, signal }: FrameStreamOptions,
): AsyncGenerator<Buffer> {
  const started: Decompression[] = [];
  const ahead = readAhead(frames, parallel);
  try {
    let index = 0;
    for (const frame of frames) {
      for (const next of ahead.after(index)) {
        // Room for as many bytes as the index says: a frame that has far more waits before it fills the memory.
        const buffered = Math.ceil(next[2] / chunkSize) + 1;
        const range = rangeOf(next);
        started.push(startDecompressing(source, range, compression, { buffered, signal }));
      }
      const current = started.shift();
      if (!current) return;
      try {
        await checkEnd(source, frame, frameEnd);
        yield* exactly(current.chunks, frame[2]);
      } catch (error) {
        throw frameError(label, first + index, frame, error);
      } finally {
        current.stop();
      }
      index += 1;
    }
  } finally {
    for (const one of started) one.stop();
  }
}

/** Yields the frames to start while one is read: at most `parallel`, and no more than fit into memory. */
function readAhead(frames: FrameList, parallel: number) {
  let next = 0;
  return {
    *after(current: number): Generator<Frame> {
      let bytes = 0;
      for (let index = current; index < current + parallel; index++) {
        const frame = frames.at(index);
        bytes += frame?.[2] ?? 0;
        if (!frame || (index > current && bytes > mostAhead)) return;
        if (index < next) continue;
        next = index + 1;
        yield frame;
      }
    },
  };
}

function rangeOf([offset, length]: Frame): ByteRange {
  return { offset, length };
}

type FrameEnd = NonNullable<CompressionFormat['frameEnd']>;

/**
 * Compares the end of a frame with the index. The decompressor compares the data with that end, so the CRC-32 need not
 * be computed a second time.
 */
async function checkEnd(
  source: BundleSource,
  [offset, stored, length, crc]: Frame,
  frameEnd: FrameEnd,
) {
  if (stored < frameEndSize) throw new BundleError('is too short to be one');
  const end = await source.read(offset + stored - frameEndSize, frameEndSize);
  if (end.length < frameEndSize) throw new BundleError('the file ends before it');
  const stated = frameEnd(end);
  if (stated.crc32 !== crc) throw new BundleError('CRC is not that of the index');
  if (stated.length !== length) throw new BundleError('length is not that of the index');
}

async function* exactly(chunks: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let left = length;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0) {
    throw new BundleError(
      `holds ${left < 0 ? 'more' : 'less'} than the ${length} bytes of the index`,
    );
  }
}

/** Decompresses frames as one stream, in one process. */
async function* framesInOneStream(
  source: BundleSource,
  compression: Compression,
  frames: FrameList,
  { label, first = 0, signal }: FrameStreamOptions,
): AsyncGenerator<Buffer> {
  const [start, last] = [frames.at(0), frames.at(-1)];
  if (!start || !last) return;
  const range = { offset: start[0], length: last[0] + last[1] - start[0] };
  const input = new ByteReader(decompress(source, range, compression, signal));
  try {
    let index = 0;
    for (const frame of frames) {
      try {
        await checkStart(source, frame, compression);
        yield* crcChecked(input, frame);
      } catch (error) {
        throw frameError(label, first + index, frame, error);
      }
      index += 1;
    }
    if (await input.next(1)) {
      throw frameError(label, first + frames.length - 1, last, 'holds more than the index says');
    }
  } finally {
    await input.close();
  }
}

/** Checks that a frame begins where the index says: one stream only shows whether all frames together are valid. */
async function checkStart(source: BundleSource, [offset]: Frame, compression: Compression) {
  const { frameMagic } = compressions[compression];
  if (!frameMagic) return;
  const start = await source.read(offset, frameMagic.length);
  if (!start.equals(frameMagic)) throw new BundleError(`no ${compression} frame begins here`);
}

async function* crcChecked(input: ByteReader, [, , length, crc]: Frame): AsyncGenerator<Buffer> {
  let actual = 0;
  for (let left = length; left > 0;) {
    const chunk = await input.some(Math.min(left, largestChunk));
    actual = crc32(chunk, actual);
    left -= chunk.length;
    yield chunk;
  }
  if (actual !== crc) throw new BundleError('CRC is not that of the index');
}
