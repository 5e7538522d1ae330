// The contract of the engines, which run in worker threads: isal.ts, libzstd.ts, node-gzip.ts, node-zstd.ts,
// program-encoder.ts and no-compression.ts. engines.ts chooses between them.

/** The memory of engines is shared between threads and never moves. */
export interface FrameEncoder {
  /** For people: `libisal -1`. */
  readonly name: string;
  /** It starts a program for each frame, so that larger frames are much cheaper. */
  readonly startsPrograms?: boolean;
  /**
   * Compresses all of `raw` into one complete frame at the start of `stored`, which has at least
   * `storedBound` bytes.
   * @throws Error when the engine fails
   */
  compress(raw: Buffer, stored: Buffer): EncodedFrame | Promise<EncodedFrame>;
}

export interface EncodedFrame {
  /** Bytes of the frame. */
  readonly stored: number;
  /** CRC-32 of what was compressed. */
  readonly crc32: number;
}

export interface FrameDecoder {
  readonly name: string;
  /** It starts a program for each frame. */
  readonly startsPrograms?: boolean;
  /**
   * Decompresses one frame, which must fill `raw` exactly and end where `stored` ends.
   * @returns the CRC-32 of the content
   * @throws FrameDamage when the frame is damaged, is not one frame, or has another size; Error when the engine fails
   */
  decompress(stored: Buffer, raw: Buffer): number | Promise<number>;
}

/** A program that an engine has started has failed. */
export class ProgramFailure extends Error {
  readonly program: string;
  constructor(program: string, why: string) {
    super(`${program}: ${why}`);
    this.program = program;
  }
}

/** What is wrong with a frame. The caller knows which one it is. */
export class FrameDamage extends Error {}

/** The most bytes that any engine makes of a frame of `length` bytes: of data that cannot be compressed. */
export function storedBound(length: number): number {
  return length + Math.ceil(length / 128) + 1024;
}
