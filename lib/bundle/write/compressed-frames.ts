// The compressing pipeline: a frame is written to a scratch file, a compressor turns it into another
// scratch file, and the results are appended to the sink in order. While one frame is filled, others are
// being compressed. Full frames of zeros are all alike, so only one of them is compressed.
import type { FileHandle } from 'node:fs/promises';
import type { FrameList } from '../format/manifest.ts';
import type { BundleSink } from '../sink.ts';
import { isZero } from '../zeros.ts';
import { AppendQueue } from './append-queue.ts';
import { CompressorSlots, type CompressorSlot } from './compressor-slots.ts';
import { frameSize, type FrameBody } from './frame-body.ts';
import type { CompressingCodec } from './frame-codec.ts';
import { FramePlaces } from './frame-places.ts';
import { readAll, writeScratch } from './scratch.ts';
import { Gatherer } from './write-buffer.ts';

const copySize = 1024 * 1024;
/** A compressed frame of zeros is only kept up to this size. Every compressor makes far less of 8 MiB of zeros. */
const largestZeroFrame = 1024 * 1024;
/** The most frames that wait to be appended. Only frames of zeros, which need no slot, become so many. */
const longestQueue = 64;

const zeros = Buffer.alloc(copySize);

/** The frame that is being filled. */
interface OpenFrame {
  readonly slot: CompressorSlot;
  readonly gatherer: Gatherer;
}

export class CompressedFrames implements FrameBody {
  readonly #sink: BundleSink;
  readonly #closing = new AbortController();
  readonly #stop: AbortSignal;
  readonly #slots: CompressorSlots;
  readonly #queue = new AppendQueue();
  readonly #places = new FramePlaces();
  readonly #copyBuffer = Buffer.allocUnsafeSlow(copySize);
  #current: OpenFrame | undefined;
  /** Bytes of zeros at the start of the current frame that are not written anywhere yet. */
  #leadingZeros = 0;
  /** A frame of zeros in its compressed form. */
  #zeroFrame: Buffer | undefined;

  /** `signal` kills compressors and makes every call reject. */
  constructor(sink: BundleSink, codec: CompressingCodec, signal: AbortSignal) {
    this.#sink = sink;
    this.#stop = AbortSignal.any([signal, this.#closing.signal]);
    this.#slots = new CompressorSlots(codec, this.#stop);
  }

  async add(data: Uint8Array): Promise<void> {
    if (!this.#current && isZero(data)) {
      this.#leadingZeros += data.length;
      return;
    }
    this.#current ??= await this.#openFrame();
    await this.#current.gatherer.add(data);
  }

  async end(length: number, crc: number): Promise<void> {
    const onlyZeros = !this.#current && length === frameSize;
    if (onlyZeros && this.#zeroFrame) {
      this.#leadingZeros = 0;
      await this.#appendZeroFrame(this.#zeroFrame, crc);
      return;
    }
    const { slot, gatherer } = (this.#current ??= await this.#openFrame());
    this.#current = undefined;
    await gatherer.flush();
    if (length < frameSize) await slot.raw.truncate(length);
    const compressed = slot.compressor.compress(length, crc);
    this.#queue.track(compressed);
    this.#queue.append(async () => {
      const stored = await compressed;
      await this.#copyToSink(slot.stored, stored);
      if (onlyZeros && stored <= largestZeroFrame) {
        this.#zeroFrame ??= await load(slot.stored, stored);
      }
      this.#places.add(stored, length, crc);
      this.#slots.giveBack(slot);
    });
  }

  async flush(): Promise<FrameList> {
    await this.#queue.all();
    return this.#places.all;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#current?.gatherer.flush().catch(() => undefined);
    await this.#queue.settled();
    await this.#slots.close();
  }

  async #openFrame(): Promise<OpenFrame> {
    const slot = await this.#takeSlot();
    let position = 0;
    const gatherer = new Gatherer(async (data) => {
      await writeScratch(slot.raw, data, position);
      position += data.length;
    });
    while (this.#leadingZeros > 0) {
      const part = zeros.subarray(0, Math.min(this.#leadingZeros, zeros.length));
      await gatherer.add(part);
      this.#leadingZeros -= part.length;
    }
    return { slot, gatherer };
  }

  async #takeSlot(): Promise<CompressorSlot> {
    for (;;) {
      this.#stop.throwIfAborted();
      const slot = await this.#slots.take();
      if (slot) return slot;
      await this.#queue.oldest();
    }
  }

  async #appendZeroFrame(stored: Buffer, crc: number): Promise<void> {
    this.#queue.append(async () => {
      await this.#sink.write(stored);
      this.#places.add(stored.length, frameSize, crc);
    });
    if (this.#queue.length >= longestQueue) await this.#queue.oldest();
  }

  async #copyToSink(file: FileHandle, length: number): Promise<void> {
    for (let at = 0; at < length; at += copySize) {
      this.#stop.throwIfAborted();
      const size = Math.min(copySize, length - at);
      await readAll(file, this.#copyBuffer, size, at);
      await this.#sink.write(this.#copyBuffer.subarray(0, size));
    }
  }
}

async function load(file: FileHandle, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  await readAll(file, buffer, length, 0);
  return buffer;
}
