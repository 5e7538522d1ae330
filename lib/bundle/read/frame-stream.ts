// The tar stream of some frames of an indexed bundle, each checked against the index: its length and
// its CRC-32. Where the compression can, several frames are decompressed at a time.
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

export interface FrameStreamOptions {
  /** For messages: `disk 0`. */
  readonly label: string;
  /** How many frames are decompressed at the same time; default: as many as pays. */
  readonly parallel?: number;
  /** The number of the first frame in its member, for messages; default 0. */
  readonly first?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A frame takes up to 32 MiB while it waits, and libuv has four threads for this and all files. */
const mostParallel = Math.max(1, Math.min(3, availableParallelism()));
/** Bytes of the tar stream in the frames that are decompressed at the same time, unless it is one. */
const mostAhead = 32 * 1024 * 1024;
/** Pieces of a disk may not be larger. */
const largestChunk = 1024 * 1024;

/**
 * The bytes of frames that follow one another without gaps.
 * @throws BundleError that names the first frame that is damaged
 */
export async function* frameBytes(
  source: BundleSource,
  compression: Compression,
  frames: FrameList,
  options: FrameStreamOptions,
): AsyncGenerator<Buffer> {
  const { frameEnd } = compressions[compression];
  if (frameEnd) yield* framesAlone(source, compression, frameEnd, frames, options);
  else yield* framesInOneStream(source, compression, frames, options);
}

/** A frame that is damaged. */
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

/** The error for a frame; `index` is its number in the member. */
function frameError(label: string, index: number, frame: Frame, reason: unknown): unknown {
  if (typeof reason !== 'string' && !(reason instanceof BundleError)) return reason;
  return new FrameError(label, index, frame, reason);
}

/** Frames that are decompressed each alone, some of them before they are asked for. */
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
        // As many chunks as hold what the index says: a frame that holds far more waits before it fills the memory.
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

/** Says which frames to start while one is read: `parallel` at most, and no more of them than fit into memory. */
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

/** The decompressor compares the data with the frame's end: comparing that with the index saves a second computation. */
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

/** Frames that are decompressed as one stream, by one process. */
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

/** One stream shows only whether all frames together make sense. */
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
