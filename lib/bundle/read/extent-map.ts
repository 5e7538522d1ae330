// Which bytes of a disk an archive holds, as told by a hostile archive.
import { BundleError } from '../../report/errors.ts';
import type { Extent } from '../../read/disk-reader.ts';

/** Far more than any real disk has; in the worst case a map of so many takes 100 MB. */
const mostExtents = 10_000_000;
const blockSize = 64 * 1024;
/** Bytes of one number at most: 2^53 in seven bits each. */
const longestNumber = 8;

/**
 * The extents of a disk in ascending order. There may be millions: each is kept as the length of the hole before it and
 * its own, in as many bytes as these need (seven bits in each, the last one without the eighth).
 */
export class ExtentMap {
  /** Bytes that the extents add up to. */
  dataBytes = 0;
  #size: number;
  #end = 0;
  #count = 0;
  readonly #blocks: Buffer[] = [];
  #used = blockSize;

  /** @param size bytes of the disk, holes included; `limitTo` may set it later */
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

  /** Sets the size of the disk. @throws BundleError when it is too small for the extents */
  limitTo(size: number): void {
    if (this.#end > size) throw this.#beyond(size);
    this.#size = size;
  }

  /** Adds the next extent; one of length 0 only marks a place. @throws BundleError */
  add(offset: number, length: number): void {
    if (offset < this.#end) throw new BundleError('its sparse map overlaps or is not in order');
    if (offset > this.#size || length > this.#size - offset) throw this.#beyond(this.#size);
    if (length === 0) return;
    if (this.#count >= mostExtents) {
      throw new BundleError(`its sparse map has more than ${mostExtents} extents`);
    }
    this.#count += 1;
    // Both always stand in one block.
    if (this.#used > blockSize - 2 * longestNumber) {
      this.#blocks.push(Buffer.allocUnsafeSlow(blockSize));
      this.#used = 0;
    }
    this.#put(offset - this.#end);
    this.#put(length);
    this.#end = offset + length;
    this.dataBytes += length;
  }

  *extents(): Generator<Extent> {
    let end = 0;
    let block = 0;
    let at = 0;
    for (let n = 0; n < this.#count; n++) {
      if (at > blockSize - 2 * longestNumber) {
        block += 1;
        at = 0;
      }
      const bytes = this.#blocks[block];
      if (!bytes) return;
      const [hole, next] = numberAt(bytes, at);
      const [length, after] = numberAt(bytes, next);
      at = after;
      yield { offset: end + hole, length };
      end += hole + length;
    }
  }

  #beyond(size: number): BundleError {
    return new BundleError(`its sparse map reaches beyond its size of ${size} bytes`);
  }

  #put(number: number): void {
    const block = this.#blocks.at(-1);
    if (!block) return;
    let rest = number;
    for (; rest >= 128; rest = Math.floor(rest / 128)) block[this.#used++] = 128 + (rest % 128);
    block[this.#used++] = rest;
  }
}

/** The number that begins at `at`, and where the next one does. */
function numberAt(bytes: Buffer, at: number): readonly [number: number, next: number] {
  let number = 0;
  let scale = 1;
  for (let place = at; ; place++) {
    const byte = bytes[place] ?? 0;
    number += (byte % 128) * scale;
    if (byte < 128) return [number, place + 1];
    scale *= 128;
  }
}
