// How a frame is compressed: the contract between compressed-frames.ts, which fills scratch files, and
// frame-compressors.ts, which compresses them.
import type { FileHandle } from 'node:fs/promises';
import type { Compression } from '../compression/compressions.ts';

/** Compresses what is in one scratch file into another, frame after frame. */
export interface FrameCompressor {
  /**
   * Writes the first `length` bytes of the raw file, which has no more, as one complete frame to the other file, from
   * its start. Not to be called while it runs.
   * @returns how many bytes that took; what follows them in the file has no meaning
   * @throws when the compressor fails or its output is incomplete; the signal's reason when aborted
   */
  compress(length: number, crc32: number): Promise<number>;
  /** Ends it, if it runs. Never rejects; may be called twice. The files stay open. */
  close(): Promise<void>;
}

export interface CompressingCodec {
  readonly compression: Exclude<Compression, 'none'>;
  /** Printable: `igzip -1`. */
  readonly name: string;
  start(raw: FileHandle, stored: FileHandle, signal: AbortSignal): FrameCompressor;
}

/** The tar stream as it is. */
export interface NoCodec {
  readonly compression: 'none';
  readonly name: string;
}

export type FrameCodec = CompressingCodec | NoCodec;
