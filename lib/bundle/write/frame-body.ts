// The contract between frame-writer.ts, which cuts the tar stream into frames, and plain-frames.ts and
// compressed-frames.ts, which store the frames.
import type { FrameList } from '../format/manifest.ts';

/**
 * Bytes of the tar stream in one frame. The format allows 32 MiB; 8 MiB are nearly as fast and keep the
 * scratch files, which are in memory, below 50 MiB.
 */
export const frameSize = 8 * 1024 * 1024;

/** Stores the bytes of frames in the sink, whatever they are. */
export interface FrameBody {
  /** Appends to the current frame. `data` may still be read until the next call has resolved. */
  add(data: Uint8Array): Promise<void>;
  /** Ends the current frame, which has `length` bytes (never 0) with this CRC-32. */
  end(length: number, crc: number): Promise<void>;
  /** Resolves with the places of all frames when all of them are in the sink. */
  flush(): Promise<FrameList>;
  /** Kills compressors, frees scratch files. Never rejects; may be called twice. */
  close(): Promise<void>;
}
