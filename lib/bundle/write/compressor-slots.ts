// The slots in which frames are compressed. Each has a scratch file for a frame, another one for the compressed frame,
// and a compressor. Slots are reused, because fresh memory pages cost more than used ones.
import type { FileHandle } from 'node:fs/promises';
import { frameSize } from './frame-body.ts';
import type { CompressingCodec, FrameCompressor } from './frame-codec.ts';
import { createScratch, scratchFolder } from './scratch.ts';

/** One frame is filled while the others are compressed. More slots are not faster (see bench/). */
const slotCount = 3;

export interface CompressorSlot {
  readonly raw: FileHandle;
  readonly stored: FileHandle;
  readonly compressor: FrameCompressor;
}

export class CompressorSlots {
  readonly #codec: CompressingCodec;
  readonly #signal: AbortSignal;
  #made: Promise<CompressorSlot>[] = [];
  readonly #free: CompressorSlot[] = [];

  /** `signal` kills compressors. */
  constructor(codec: CompressingCodec, signal: AbortSignal) {
    this.#codec = codec;
    this.#signal = signal;
  }

  /** A free slot; undefined while all are in use. */
  async take(): Promise<CompressorSlot | undefined> {
    const slot = this.#free.pop();
    if (slot || this.#made.length === slotCount) return slot;
    const made = this.#make();
    this.#made.push(made);
    return made;
  }

  giveBack(slot: CompressorSlot): void {
    this.#free.push(slot);
  }

  /** Ends compressors and frees scratch files. Never rejects; may be called twice. */
  async close(): Promise<void> {
    const made = this.#made;
    this.#made = [];
    for (const slot of await Promise.allSettled(made)) {
      if (slot.status === 'rejected') continue;
      const { raw, stored, compressor } = slot.value;
      await compressor.close();
      await Promise.allSettled([raw.close(), stored.close()]);
    }
  }

  async #make(): Promise<CompressorSlot> {
    const folder = await scratchFolder(2 * slotCount * frameSize);
    const raw = await createScratch(folder);
    try {
      const stored = await createScratch(folder);
      return { raw, stored, compressor: this.#codec.start(raw, stored, this.#signal) };
    } catch (error) {
      await raw.close();
      throw error;
    }
  }
}
