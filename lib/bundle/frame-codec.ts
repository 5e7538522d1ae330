// How a frame is compressed: the contract between the bundle, which cuts frames, and
// lib/tools/compressor.ts, which runs compressors on them.
import type { FileHandle } from 'node:fs/promises';

/** The bytes of one frame, in a scratch file from its start. */
export interface RawFrame {
  readonly file: FileHandle;
  readonly length: number;
  readonly crc32: number;
}

/** Compresses frames. */
export interface CompressingCodec {
  readonly compression: 'gzip' | 'zstd';
  /** Printable: `igzip -1`. */
  readonly name: string;
  /**
   * Writes `frame` as one complete gzip member or zstd frame to `output`, from its start.
   * @returns how many bytes that took; what lies behind them in `output` is of no meaning
   * @throws when the compressor fails or its output is incomplete; the signal's reason when aborted
   */
  compress(frame: RawFrame, output: FileHandle, signal: AbortSignal): Promise<number>;
}

/** The tar stream as it is. */
export interface NoCodec {
  readonly compression: 'none';
  readonly name: string;
}

export type FrameCodec = CompressingCodec | NoCodec;
