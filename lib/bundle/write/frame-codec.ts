// The contract between compressed-frames.ts, which fills scratch files, and frame-compressors.ts, which compresses them.
import type { FileHandle } from 'node:fs/promises';
import type { Compression } from '../compression/compressions.ts';

/** Compresses the content of one scratch file into another, frame after frame. */
export interface FrameCompressor {
  /**
   * Compresses the raw file, which has `length` bytes, into one complete frame at the start of the other file. Must not
   * be called again while it runs.
   * @returns the size of the frame in bytes; what follows it in the file has no meaning
   * @throws when the compressor fails or its output is incomplete; the signal's reason when aborted
   */
  compress(length: number, crc32: number): Promise<number>;
  /** Ends the compression, if one runs. Never rejects; may be called twice. The files stay open. */
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
