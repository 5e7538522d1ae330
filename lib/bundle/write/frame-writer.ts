// Cuts the tar stream into frames, which worker threads compress while the next ones are filled; they are appended to the
// sink in order. See docs/bundle-format.md, "Frames".
import type { FrameList } from '../format/manifest.ts';
import type { BundleSink } from '../sink.ts';
import { slotSizesFor, type FrameSlot } from '../threads/frame-slot.ts';
import { FrameThreads } from '../threads/frame-threads.ts';
import { RegionHashing } from '../threads/region-hashing.ts';
import { AppendQueue } from './append-queue.ts';
import type { FrameCodec } from './compressor.ts';
import { FramePlaces } from './frame-places.ts';

export class FrameWriter {
  /** Bytes of the tar stream in each frame but the last one of a member. */
  readonly frameSize: number;
  readonly #sink: BundleSink;
  readonly #codec: FrameCodec;
  readonly #signal: AbortSignal;
  readonly #queue = new AppendQueue();
  readonly #places = new FramePlaces();
  #starting: Promise<FrameThreads> | undefined;
  /** The frame that is being filled, and its bytes so far. */
  #slot: FrameSlot | undefined;
  #length = 0;
  #hashing: RegionHashing | undefined;
  #count = 0;
  #position = 0;

  /** `signal` makes every call reject with its reason. */
  constructor(sink: BundleSink, codec: FrameCodec, frameSize: number, signal: AbortSignal) {
    this.frameSize = frameSize;
    this.#sink = sink;
    this.#codec = codec;
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

  /** From now on, `write` can say where bytes are on a disk of this size, whose regions are then hashed. */
  async hashDisk(virtualSize: number): Promise<RegionHashing> {
    this.#hashing = new RegionHashing(await this.#threads(), virtualSize);
    return this.#hashing;
  }

  /**
   * Appends to the tar stream. Once it has resolved, `data` may be used again.
   * @param offset where the bytes are on the disk of `hashDisk`; undefined if they are not of a disk
   */
  async write(data: Uint8Array, offset?: number): Promise<void> {
    for (let at = 0; at < data.length;) {
      this.#signal.throwIfAborted();
      if (this.#length === this.frameSize) await this.cut();
      const slot = (this.#slot ??= await this.#openFrame());
      const part = data.subarray(at, at + this.frameSize - this.#length);
      slot.raw.set(part, this.#length);
      if (offset !== undefined) this.#hashing?.add(this.#length, offset + at, part.length);
      this.#length += part.length;
      this.#position += part.length;
      at += part.length;
    }
  }

  /** Ends the frame. */
  async cut(): Promise<void> {
    const slot = this.#slot;
    const length = this.#length;
    if (!slot) return;
    this.#slot = undefined;
    this.#length = 0;
    const threads = await this.#threads();
    const compressed = threads.compress(slot, length);
    const hashed = this.#hashing?.flush(slot);
    // Their errors are thrown below, unless an earlier frame has failed.
    compressed.catch(() => undefined);
    hashed?.catch(() => undefined);
    this.#queue.append(async () => {
      try {
        const { data, crc32 } = await compressed;
        await this.#sink.write(data);
        this.#places.add(data.length, length, crc32);
        await hashed;
        threads.slots.giveBack(slot);
      } catch (error) {
        threads.fail(error as Error);
        throw error;
      }
    });
  }

  /** Ends the frame. Resolves with the places of all frames when all of them are in the sink. */
  async flush(): Promise<FrameList> {
    await this.cut();
    await this.#queue.all();
    return this.#places.all;
  }

  /** Ends the threads. Never rejects; may be called twice. */
  async close(): Promise<void> {
    const threads = await this.#starting?.catch(() => undefined);
    await threads?.close();
    await this.#queue.settled();
  }

  async #openFrame(): Promise<FrameSlot> {
    const threads = await this.#threads();
    const slot = await threads.slots.take();
    this.#count += 1;
    return slot;
  }

  #threads(): Promise<FrameThreads> {
    const { compression: method, level, libraries } = this.#codec;
    const encode = { method, level };
    const slots = () => slotSizesFor(this.frameSize);
    this.#starting ??= FrameThreads.start({ encode, slots, signal: this.#signal, libraries });
    return this.#starting;
  }
}
