// The two ways to compress a frame: with a program, and with a compression that is built into Node.js.
import { createReadStream, createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { errorMessage, FailedError } from '../../report/errors.ts';
import { startFilter, type Filter } from '../../run/filter.ts';
import {
  chunkSize,
  frameEndSize,
  type BuiltInEncoder,
  type FrameFacts,
  type ProgramEncoder,
} from '../compression/compression-format.ts';
import { compressions, type Compression } from '../compression/compressions.ts';
import type { FrameCompressor } from './frame-codec.ts';
import { readAll } from './scratch.ts';

interface Encoding<E> {
  readonly compression: Compression;
  readonly encoder: E;
  readonly level: number;
}

/** The scratch files: the one that is compressed, and the one for the result. */
interface Files {
  readonly raw: FileHandle;
  readonly stored: FileHandle;
}

/** One program, started anew for each frame. */
export class ProgramCompressor implements FrameCompressor {
  readonly #encoding: Encoding<ProgramEncoder>;
  readonly #files: Files;
  readonly #filter: Filter;

  constructor(encoding: Encoding<ProgramEncoder>, files: Files, signal: AbortSignal) {
    const { program, args } = encoding.encoder;
    this.#encoding = encoding;
    this.#files = files;
    this.#filter = startFilter(
      { program, args: args(encoding.level) },
      { input: files.raw.fd, output: files.stored.fd },
      { doing: 'compress a frame', signal },
    );
  }

  async compress(length: number, crc32: number): Promise<number> {
    const { compression, encoder } = this.#encoding;
    const size = await this.#filter.run();
    const isComplete = await isFrame(compression, { length, crc32 }, this.#files.stored, size);
    if (isComplete) return size;
    throw incomplete(encoder.program);
  }

  close(): Promise<void> {
    return this.#filter.close();
  }
}

/** In this process, in libuv's threads. */
export class BuiltInCompressor implements FrameCompressor {
  readonly #encoding: Encoding<BuiltInEncoder>;
  readonly #files: Files;
  readonly #signal: AbortSignal;

  constructor(encoding: Encoding<BuiltInEncoder>, files: Files, signal: AbortSignal) {
    this.#encoding = encoding;
    this.#files = files;
    this.#signal = signal;
  }

  async compress(length: number, crc32: number): Promise<number> {
    const { compression, encoder, level } = this.#encoding;
    const { raw, stored } = this.#files;
    const signal = this.#signal;
    const input = createReadStream(pathOf(raw), { highWaterMark: chunkSize });
    const output = createWriteStream(pathOf(stored), { flags: 'r+' });
    try {
      await pipeline(input, encoder.start(level), output, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new FailedError(`cannot compress a frame: ${errorMessage(error)}`, { cause: error });
    }
    const size = output.bytesWritten;
    if (await isFrame(compression, { length, crc32 }, stored, size)) return size;
    throw incomplete(encoder.builtIn);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function pathOf(file: FileHandle): string {
  return `/proc/self/fd/${file.fd}`;
}

/**
 * Whether the output begins like a frame and, if the format allows checking that, ends like a frame with this content.
 * This detects full disks and programs that died.
 */
async function isFrame(
  compression: Compression,
  { length, crc32 }: FrameFacts,
  output: FileHandle,
  size: number,
): Promise<boolean> {
  const { frameMagic = Buffer.alloc(0), frameEnd } = compressions[compression];
  if (size < frameMagic.length + frameEndSize) return false;
  const start = Buffer.alloc(frameMagic.length);
  await readAll(output, start, start.length, 0);
  if (!start.equals(frameMagic)) return false;
  if (!frameEnd) return true;
  const end = Buffer.alloc(frameEndSize);
  await readAll(output, end, end.length, size - end.length);
  const stated = frameEnd(end);
  return stated.length === length && stated.crc32 === crc32;
}

function incomplete(name: string): FailedError {
  return new FailedError(`cannot compress a frame: the output of ${name} is not complete`);
}
