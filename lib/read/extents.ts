// The extents of a disk, in little memory: a fragmented disk has millions of them.
import { FailedError } from '../report/errors.ts';
import type { Extent } from './extent.ts';

/** Far more extents than any real disk has; that many take 100 MB in the worst case, and 60 MB as a rule. */
export const mostExtents = 10_000_000;

const blockSize = 64 * 1024;
/** Bytes of one number at most: 2^53 in seven bits each. */
const longestNumber = 8;
/** An extent begins in a block only up to here, so both its numbers are always in the same block. */
const lastStart = blockSize - 2 * longestNumber;

/**
 * Extents in ascending order, apart and not empty, whatever is added. Each is stored as two numbers, the length of the hole
 * before it and its own. A number takes as many bytes as it needs: seven bits in each byte, and the eighth bit says that
 * another byte follows. Nothing may be added during an iteration.
 */
export class Extents implements Iterable<Extent> {
  readonly #wrong: (why: string) => Error;
  readonly #blocks: Buffer[] = [];
  #used = blockSize;
  /** How many are in the blocks, and where the last one of these ends. */
  #stored = 0;
  #storedEnd = 0;
  /** The last extent, to which more may be joined. It is empty only as long as there is none. */
  #start = 0;
  #end = 0;
  #dataBytes = 0;

  /** @param wrong makes the error for an extent that cannot be right */
  constructor(wrong = (why: string): Error => new FailedError(`its map of data is wrong: ${why}`)) {
    this.#wrong = wrong;
  }

  /** @throws FailedError when these are not in order, or not apart */
  static of(extents: Iterable<Extent>): Extents {
    const all = new Extents();
    for (const { offset, length } of extents) all.add(offset, length);
    return all;
  }

  /** The one extent of a disk without holes; none of an empty disk. */
  static whole(size: number): Extents {
    return Extents.of(size === 0 ? [] : [{ offset: 0, length: size }]);
  }

  /** How many there are. */
  get length(): number {
    return this.#stored + (this.#end > this.#start ? 1 : 0);
  }

  /** Bytes of all extents. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Where the last extent ends, in bytes; 0 if there is none. */
  get end(): number {
    return this.#end;
  }

  /**
   * Adds the next extent. It is joined with the last one if there is no hole between them.
   * @param joinOver bytes: a hole up to this size becomes data
   * @throws an error of the class that the constructor was given when it is empty, or does not begin after the last one
   */
  add(offset: number, length: number, joinOver = 0): void {
    const end = offset + length;
    const isAfter = offset >= this.#end && length > 0;
    if (!isAfter || !Number.isSafeInteger(offset) || !Number.isSafeInteger(end)) {
      throw this.#wrong(`${length} bytes at ${offset}, after ${this.#end}`);
    }
    const isFirst = this.#end === 0;
    if (!isFirst && offset - this.#end <= joinOver) {
      this.#dataBytes += end - this.#end;
      this.#end = end;
      return;
    }
    if (!isFirst) this.#store();
    this.#dataBytes += length;
    this.#start = offset;
    this.#end = end;
  }

  [Symbol.iterator](): Iterator<Extent, undefined> {
    return new ExtentIterator(this.#blocks, this.#stored, this.#start, this.#end);
  }

  #store(): void {
    let block = this.#blocks.at(-1);
    if (!block || this.#used > lastStart) {
      block = Buffer.allocUnsafeSlow(blockSize);
      this.#blocks.push(block);
      this.#used = 0;
    }
    this.#used = put(block, this.#used, this.#start - this.#storedEnd);
    this.#used = put(block, this.#used, this.#end - this.#start);
    this.#stored += 1;
    this.#storedEnd = this.#end;
  }
}

/** Not a generator, since that takes twice the time for each extent. */
class ExtentIterator implements Iterator<Extent, undefined> {
  readonly #blocks: readonly Buffer[];
  readonly #last: Extent;
  #left: number;
  #block = -1;
  #bytes: Buffer = Buffer.alloc(0);
  #at = blockSize;
  #end = 0;

  constructor(blocks: readonly Buffer[], stored: number, start: number, end: number) {
    this.#blocks = blocks;
    this.#left = stored + (end > start ? 1 : 0);
    this.#last = { offset: start, length: end - start };
  }

  next(): IteratorResult<Extent, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    this.#left -= 1;
    if (this.#left === 0) return { done: false, value: this.#last };
    if (this.#at > lastStart) {
      this.#block += 1;
      this.#bytes = this.#blocks[this.#block] ?? this.#bytes;
      this.#at = 0;
    }
    const offset = this.#end + this.#number();
    const length = this.#number();
    this.#end = offset + length;
    return { done: false, value: { offset, length } };
  }

  #number(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let byte = bytes[at++] ?? 0;
    let number = byte & 127;
    for (let scale = 128; byte >= 128; scale *= 128) {
      byte = bytes[at++] ?? 0;
      number += (byte & 127) * scale;
    }
    this.#at = at;
    return number;
  }
}

/** Writes a number at `at`. @returns the index after it */
function put(block: Buffer, at: number, number: number): number {
  let rest = number;
  let next = at;
  // The operators for bits are several times faster, but know 32 bits only.
  for (; rest >= 2 ** 31; rest = Math.floor(rest / 128)) block[next++] = 128 + (rest % 128);
  for (; rest >= 128; rest >>>= 7) block[next++] = 128 | (rest & 127);
  block[next++] = rest;
  return next;
}
