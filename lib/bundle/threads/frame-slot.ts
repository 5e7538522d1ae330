// Memory for frames that are being compressed or decompressed. All threads see it. It is used again and again, because fresh
// pages cost more than used ones.
import { storedBound } from './frame-engine.ts';
import { slotGap, type SlotMemory } from './protocol.ts';

/** Bytes. */
export interface SlotSizes {
  readonly rawSize: number;
  readonly storedSize: number;
}

export class FrameSlot {
  readonly number: number;
  /** The content of a frame: bytes of the tar stream. */
  readonly raw: Buffer;
  /** The frame as it is in the bundle. */
  readonly stored: Buffer;
  readonly memory: SlotMemory;

  constructor(number: number, { rawSize, storedSize }: SlotSizes) {
    const memory = new SharedArrayBuffer(rawSize + storedSize + 2 * slotGap);
    this.number = number;
    this.memory = { memory, rawSize };
    this.raw = Buffer.from(memory, 0, rawSize);
    this.stored = Buffer.from(memory, rawSize + slotGap, storedSize);
  }
}

/** The sizes for frames of at most `frameSize` bytes. */
export function slotSizesFor(frameSize: number): SlotSizes {
  return { rawSize: frameSize, storedSize: storedBound(frameSize) };
}

/** Bytes that all slots together may have. */
const slotMemory = 128 * 1024 * 1024;

/** A few slots, made when they are first needed. */
export class SlotPool {
  /** How many there are at most: one for each thread, one that is filled, and one that is emptied. */
  readonly count: number;
  readonly #sizes: SlotSizes;
  readonly #onMade: (slot: FrameSlot) => void;
  #made = 0;
  readonly #free: FrameSlot[] = [];
  readonly #wanted: { resolve: (slot: FrameSlot) => void; reject: (error: Error) => void }[] = [];
  #failure: Error | undefined;

  /** @param onMade is given each new slot */
  constructor(threads: number, sizes: SlotSizes, onMade: (slot: FrameSlot) => void) {
    const affordable = Math.floor(slotMemory / (sizes.rawSize + sizes.storedSize));
    this.count = Math.max(2, Math.min(threads + 2, affordable));
    this.#sizes = sizes;
    this.#onMade = onMade;
  }

  /** Waits until a slot is free. Whoever takes it gives it back. */
  take(): Promise<FrameSlot> {
    return new Promise((resolve, reject) => {
      const slot = this.#free.pop();
      if (this.#failure) reject(this.#failure);
      else if (slot) resolve(slot);
      else if (this.#made < this.count) resolve(this.#make());
      else this.#wanted.push({ resolve, reject });
    });
  }

  giveBack(slot: FrameSlot): void {
    const next = this.#wanted.shift();
    if (next) next.resolve(slot);
    else this.#free.push(slot);
  }

  /** From now on nobody gets a slot. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#wanted.splice(0)) reject(error);
  }

  #make(): FrameSlot {
    const slot = new FrameSlot(this.#made++, this.#sizes);
    this.#onMade(slot);
    return slot;
  }
}
