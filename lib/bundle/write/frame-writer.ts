// Cuts the tar stream into frames. See docs/bundle-format.md, "Frames".
import { crc32 } from 'node:zlib';
import { compressedFrames } from './compressed-frames.ts';
import { frameSize } from './frame-body.ts';
import type { FrameCodec } from './frame-codec.ts';
import type { Frame } from '../format/manifest.ts';
import { plainFrames } from './plain-frames.ts';
import type { BundleSink } from '../sink.ts';

export interface FrameWriter {
  /** How many frames were begun. */
  readonly count: number;
  /** Appends to the tar stream. `data` may still be read until the next call has resolved. */
  write(data: Uint8Array): Promise<void>;
  /** Ends the frame; the next one holds at most `size` bytes. */
  cut(size?: number): Promise<void>;
  /** Ends the frame and resolves when all are in the sink, with their places. */
  flush(): Promise<readonly Frame[]>;
  close(): Promise<void>;
}

/** A writer of frames; `signal` kills compressors and lets every call reject with its reason. */
export function createFrameWriter(
  sink: BundleSink,
  codec: FrameCodec,
  signal: AbortSignal,
): FrameWriter {
  const body =
    codec.compression === 'none' ? plainFrames(sink) : compressedFrames(sink, codec, signal);
  let count = 0;
  let limit = frameSize;
  let length = 0;
  let crc = 0;

  async function add(data: Uint8Array): Promise<void> {
    signal.throwIfAborted();
    if (length === 0) count += 1;
    length += data.length;
    crc = crc32(data, crc);
    await body.add(data);
  }

  async function cut(size = frameSize): Promise<void> {
    if (length > 0) await body.end(length, crc);
    limit = size;
    length = 0;
    crc = 0;
  }

  return {
    get count() {
      return count;
    },
    async write(data) {
      for (let at = 0; at < data.length;) {
        if (length === limit) await cut();
        const part = data.subarray(at, at + limit - length);
        await add(part);
        at += part.length;
      }
    },
    cut,
    async flush() {
      await cut();
      return body.flush();
    },
    close: () => body.close(),
  };
}
