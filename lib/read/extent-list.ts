// Collects the extents of a disk as they are found. There may be any number of them: when they are too many to be
// kept, the smallest holes are read as the zeros they are, so that memory stays bounded and the content the same.
import type { Extent } from './disk-reader.ts';

/** They take some 100 MB. */
const mostExtents = 1_500_000;
/** A hole this small saves nothing when there are so many. */
const smallestHole = 4096;

export class ExtentList {
  readonly #most: number;
  #extents: { offset: number; length: number }[] = [];
  /** Holes up to so many bytes are data. */
  #hole = 0;

  /** @param most how many are kept at most */
  constructor(most = mostExtents) {
    this.#most = most;
  }

  /** Adds the next extent: behind the last one, or touching it. */
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

  /** Bytes of the largest hole that was taken for data; 0 when none was. */
  get filledHole(): number {
    return this.#hole;
  }

  /** Makes them a quarter fewer at least, so that this happens a few times only. */
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
