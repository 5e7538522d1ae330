// Collects the extents of a disk as they are found. There may be any number of them: when there are too many to keep,
// the smallest holes are treated as data (zeros), so that memory is bounded and the content stays the same.
import type { Log } from '../report/log.ts';
import { Extents, mostExtents } from './extents.ts';

/** A smaller hole is not worth an extent when there are so many. */
const smallestHole = 4096;

export class ExtentList {
  readonly #most: number;
  #extents = new Extents();
  /** Holes up to this size, in bytes, are treated as data. */
  #hole = 0;

  /** @param most the largest number of extents that is kept */
  constructor(most = mostExtents) {
    this.#most = most;
  }

  /** Adds the next extent, which begins at or after the end of the last one. */
  add(offset: number, length: number): void {
    this.#extents.add(offset, length, this.#hole);
    if (this.#extents.length > this.#most) this.#coarsen();
  }

  get extents(): Extents {
    return this.#extents;
  }

  /** Bytes of the largest hole that was treated as data; 0 if none was. */
  get filledHole(): number {
    return this.#hole;
  }

  /** Returns the extents, and logs if holes became data. @param label names the disk */
  logged(label: string, log: Log): Extents {
    if (this.#hole > 0) {
      log.info(
        `${label}: its data is in very many fragments; holes of up to ${this.#hole} bytes are stored as zeros`,
      );
    }
    return this.#extents;
  }

  /** Removes at least a quarter of them, so that this happens only a few times. */
  #coarsen(): void {
    this.#hole = this.#holeToFill();
    const fewer = new Extents();
    for (const { offset, length } of this.#extents) fewer.add(offset, length, this.#hole);
    this.#extents = fewer;
  }

  /** How large, in bytes, a hole must be to be kept: the smallest of the sizes 4096, 8192, ... that leaves few enough extents. */
  #holeToFill(): number {
    // By the number of doublings after which a hole is filled.
    const holes = new Map<number, number>();
    let end = 0;
    let isFirst = true;
    const least = Math.max(smallestHole, this.#hole * 2);
    for (const { offset, length } of this.#extents) {
      const doublings = Math.max(0, Math.ceil(Math.log2((offset - end) / least)));
      if (!isFirst) holes.set(doublings, (holes.get(doublings) ?? 0) + 1);
      isFirst = false;
      end = offset + length;
    }
    let left = this.#extents.length;
    for (let doublings = 0; ; doublings++) {
      left -= holes.get(doublings) ?? 0;
      if (left <= this.#most * 0.75) return least * 2 ** doublings;
    }
  }
}
