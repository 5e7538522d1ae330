// Collects the extents of a disk as they are found. There may be any number of them: when there are too many to keep,
// the smallest holes are treated as data (zeros), so that memory is bounded and the content stays the same.
import type { Extent } from './disk-reader.ts';

/** These take about 100 MB. */
const mostExtents = 1_500_000;
/** A smaller hole is not worth an extent when there are so many. */
const smallestHole = 4096;

export class ExtentList {
  readonly #most: number;
  #extents: { offset: number; length: number }[] = [];
  /** Holes up to this size, in bytes, are treated as data. */
  #hole = 0;

  /** @param most the largest number of extents that is kept */
  constructor(most = mostExtents) {
    this.#most = most;
  }

  /** Adds the next extent, which begins at or after the end of the last one. */
  add(offset: number, length: number): void {
    const last = this.#extents.at(-1);
    if (last && offset - (last.offset + last.length) <= this.#hole) {
      last.length = offset + length - last.offset;
      return;
    }
    this.#extents.push({ offset, length });
    if (this.#extents.length > this.#most) this.#coarsen();
  }

  get extents(): readonly Extent[] {
    return this.#extents;
  }

  /** Bytes of the largest hole that was treated as data; 0 if none was. */
  get filledHole(): number {
    return this.#hole;
  }

  /** Removes at least a quarter of them, so that this happens only a few times. */
  #coarsen(): void {
    while (this.#extents.length > this.#most * 0.75) {
      this.#hole = Math.max(smallestHole, this.#hole * 2);
      let kept = 0;
      for (const { offset, length } of this.#extents) {
        const last = this.#extents[kept - 1];
        if (last && offset - (last.offset + last.length) <= this.#hole) {
          last.length = offset + length - last.offset;
        } else {
          this.#extents[kept] = { offset, length };
          kept += 1;
        }
      }
      this.#extents.length = kept;
    }
  }
}
