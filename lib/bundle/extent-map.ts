// Which bytes of a disk an archive holds, as told by a hostile archive.
import { BundleError } from '../report/errors.ts';
import type { Extent } from '../read/disk-reader.ts';

/** Far more than any real disk has; a map of so many takes 256 MB. */
const mostExtents = 16 * 1024 * 1024;

/** The extents of a disk in ascending order. Two numbers for each: there may be millions. */
export class ExtentMap {
  /** Bytes of the disk, holes included. */
  readonly size: number;
  /** Bytes that the extents add up to. */
  dataBytes = 0;
  #end = 0;
  readonly #numbers: number[] = [];

  constructor(size: number) {
    this.size = size;
  }

  /** The map of a disk without holes. */
  static whole(size: number): ExtentMap {
    const map = new ExtentMap(size);
    map.add(0, size);
    return map;
  }

  /** Adds the next extent; one of length 0 only marks a place. @throws BundleError */
  add(offset: number, length: number): void {
    if (offset < this.#end) throw new BundleError('its sparse map overlaps or is not in order');
    if (offset > this.size || length > this.size - offset) {
      throw new BundleError(`its sparse map reaches beyond its size of ${this.size} bytes`);
    }
    if (length === 0) return;
    if (this.#numbers.length >= 2 * mostExtents) {
      throw new BundleError(`its sparse map has more than ${mostExtents} extents`);
    }
    this.#numbers.push(offset, length);
    this.#end = offset + length;
    this.dataBytes += length;
  }

  *extents(): Generator<Extent> {
    for (let i = 0; i < this.#numbers.length; i += 2) {
      yield { offset: this.#numbers[i] ?? 0, length: this.#numbers[i + 1] ?? 0 };
    }
  }
}
