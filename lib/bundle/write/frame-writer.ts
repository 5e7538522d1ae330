// Cuts the tar stream into frames. See docs/bundle-format.md, "Frames".
import { crc32 } from 'node:zlib';
import type { FrameList } from '../format/manifest.ts';
import type { BundleSink } from '../sink.ts';
import { CompressedFrames } from './compressed-frames.ts';
import { frameSize, type FrameBody } from './frame-body.ts';
import type { FrameCodec } from './frame-codec.ts';
import { PlainFrames } from './plain-frames.ts';

export class FrameWriter {
  readonly #body: FrameBody;
  readonly #signal: AbortSignal;
  #count = 0;
  #position = 0;
  /** Bytes that the current frame may have, and those it has. */
  #limit = frameSize;
  #length = 0;
  #crc = 0;

  /** `signal` kills compressors and makes every call reject with its reason. */
  constructor(sink: BundleSink, codec: FrameCodec, signal: AbortSignal) {
    this.#body =
      codec.compression === 'none'
        ? new PlainFrames(sink)
        : new CompressedFrames(sink, codec, signal);
    this.#signal = signal;
  }

  /** How many frames were begun. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the tar stream so far. */
  get position(): number {
    return this.#position;
  }

  /** Appends to the tar stream. `data` may still be read until the next call has resolved. */
  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length;) {
      if (this.#length === this.#limit) await this.cut();
      const part = data.subarray(at, at + this.#limit - this.#length);
      await this.#add(part);
      at += part.length;
    }
  }

  /** Ends the frame; the next one holds at most `size` bytes. */
  async cut(size = frameSize): Promise<void> {
    if (this.#length > 0) await this.#body.end(this.#length, this.#crc);
    this.#limit = size;
    this.#length = 0;
    this.#crc = 0;
  }

  /** Ends the frame. Resolves with the places of all frames when all of them are in the sink. */
  async flush(): Promise<FrameList> {
    await this.cut();
    return this.#body.flush();
  }

  /** Kills compressors, frees scratch files. Never rejects; may be called twice. */
  close(): Promise<void> {
    return this.#body.close();
  }

  async #add(data: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#length === 0) this.#count += 1;
    this.#length += data.length;
    this.#position += data.length;
    this.#crc = crc32(data, this.#crc);
    await this.#body.add(data);
  }
}
