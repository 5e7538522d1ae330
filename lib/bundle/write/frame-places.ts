// The index of a bundle that is being written: where each frame is.
import { FrameTable } from '../format/frame-table.ts';
import type { FrameList } from '../format/manifest.ts';

export class FramePlaces {
  readonly #frames = new FrameTable();
  #offset = 0;

  /** The frames that are in the sink, in order. */
  get all(): FrameList {
    return this.#frames;
  }

  /** Adds a frame after the last one. @param stored its bytes in the file @param length its bytes before compression */
  add(stored: number, length: number, crc: number): void {
    this.#frames.push([this.#offset, stored, length, crc]);
    this.#offset += stored;
  }
}
