// The extents of a disk in an archive, which may be hostile.
import { BundleError } from '../../report/errors.ts';
import type { Extent } from '../../read/disk-reader.ts';

/** Far more extents than any real disk has; a map of that many takes 100 MB in the worst case. */
const mostExtents = 10_000_000;
const blockSize = 64 * 1024;
/** Bytes of one number at most: 2^53 in seven bits each. */
const longestNumber = 8;

/**
 * The extents of a disk in ascending order. There may be millions, so each is stored as two numbers, the length of the hole
 * before it and its own. A number takes as many bytes as it needs: seven bits in each byte, and the eighth bit says that
 * another byte follows.
 */
export class ExtentMap {
  /** Bytes of all extents. */
  dataBytes = 0;
  #size: number;
  #end = 0;
  #count = 0;
  readonly #blocks: Buffer[] = [];
  #used = blockSize;

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

  /** Sets the size of the disk. @throws BundleError when it is too small for the extents */
  limitTo(size: number): void {
    if (this.#end > size) throw this.#beyond(size);
    this.#size = size;
  }

  /** Adds the next extent; one of length 0 only marks an offset. @throws BundleError when it is not after the one before */
  add(offset: number, length: number): void {
    if (offset < this.#end) throw new BundleError('its sparse map overlaps or is not in order');
    if (offset > this.#size || length > this.#size - offset) throw this.#beyond(this.#size);
    if (length === 0) return;
    if (this.#count >= mostExtents) {
      throw new BundleError(`its sparse map has more than ${mostExtents} extents`);
    }
    this.#count += 1;
    // Both numbers of an extent are always in the same block.
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

/** The number at `at`, and the index of the next one. */
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
