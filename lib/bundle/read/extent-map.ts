// The extents of a disk in an archive, which may be hostile.
import { BundleError } from '../../report/errors.ts';
import type { Extent } from '../../read/extent.ts';
import { Extents, mostExtents } from '../../read/extents.ts';

/** The extents of a disk in ascending order, and its size. */
export class ExtentMap implements Iterable<Extent> {
  readonly #extents = new Extents(notInOrder);
  #size: number;

  /** @param size bytes of the disk, holes included; may also be set later, by `limitTo` */
  constructor(size = Number.MAX_SAFE_INTEGER) {
    this.#size = size;
  }

  /** The map of a disk without holes. */
  static whole(size: number): ExtentMap {
    const map = new ExtentMap(size);
    map.add(0, size);
    return map;
  }

  /** Bytes of the disk, holes included. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of all extents. */
  get dataBytes(): number {
    return this.#extents.dataBytes;
  }

  /** Sets the size of the disk. @throws BundleError when it is too small for the extents */
  limitTo(size: number): void {
    if (this.#extents.end > size) throw this.#beyond(size);
    this.#size = size;
  }

  /** Adds the next extent; one of length 0 only marks an offset. @throws BundleError when it is not after the one before */
  add(offset: number, length: number): void {
    if (offset > this.#size || length > this.#size - offset) throw this.#beyond(this.#size);
    if (length > 0) this.#extents.add(offset, length);
    else if (offset < this.#extents.end) throw notInOrder();
    if (this.#extents.length > mostExtents) {
      throw new BundleError(`its sparse map has more than ${mostExtents} extents`);
    }
  }

  [Symbol.iterator](): Iterator<Extent> {
    return this.#extents[Symbol.iterator]();
  }

  #beyond(size: number): BundleError {
    return new BundleError(`its sparse map reaches beyond its size of ${size} bytes`);
  }
}

function notInOrder(): BundleError {
  return new BundleError('its sparse map overlaps or is not in order');
}
