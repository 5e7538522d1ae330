// What becomes of frames: the contract between frame-writer.ts, which cuts them, and the ways to store
// them, plain-frames.ts and compressed-frames.ts.
import type { Frame } from '../format/manifest.ts';

/**
 * Bytes of the tar stream in one frame. The format allows 32 MiB; 8 MiB are nearly as fast and keep the
 * scratch files, which lie in memory, below 50 MiB.
 */
export const frameSize = 8 * 1024 * 1024;

/** Takes the bytes of frames and brings them into the sink; does not know what is in them. */
export interface FrameBody {
  /** Appends to the current frame. `data` may still be read until the next call has resolved. */
  add(data: Uint8Array): Promise<void>;
  /** Ends the current frame, which has `length` bytes (never 0) with this CRC-32. */
  end(length: number, crc: number): Promise<void>;
  /** Resolves when all frames are in the sink, with their places. */
  flush(): Promise<readonly Frame[]>;
  /** Kills compressors, frees scratch files. Never rejects; may be called twice. */
  close(): Promise<void>;
}
