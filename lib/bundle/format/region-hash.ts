// The hash of one region of a disk. It depends only on what the guest sees: a hole, zeros that were written, and a cluster
// that is not allocated are all the same. docs/bundle-format.md, "Region hashes", specifies it.
import { createHash, type Hash } from 'node:crypto';
import { isZero } from '../zeros.ts';

/** Bytes. A block that holds nothing but zeros does not count. */
const blockSize = 4096;
/** Blocks: a run of one GiB is cut, so that its length always fits 32 bits. */
const longestRun = 2 ** 18;

/** The hash of a region of zeros: SHA-256 of nothing. */
export const zeroRegionHash = createHash('sha256').digest();

/** Computes the hash of one region. What is not given is zeros. */
export class RegionHasher {
  readonly #hash: Hash = createHash('sha256');
  readonly #length: number;
  /** A block of which not all bytes have come in one piece, and its number. */
  #block: Buffer | undefined;
  #blockIndex = -1;
  /** The run of blocks with data that has not ended yet. */
  #runStart = 0;
  #runBlocks = 0;
  #runBytes = 0;

  /** @param length bytes of the region; only the last one of a disk may be shorter than the others */
  constructor(length: number) {
    this.#length = length;
  }

  /** Adds bytes of the region. Calls must be in ascending order. @param offset in bytes from the start of the region */
  update(data: Uint8Array, offset: number): void {
    for (let at = 0; at < data.length;) {
      const index = Math.floor((offset + at) / blockSize);
      const within = offset + at - index * blockSize;
      if (index !== this.#blockIndex) this.#endBlock();
      if (within === 0 && data.length - at >= blockSize) {
        const whole = Math.floor((data.length - at) / blockSize);
        this.#wholeBlocks(data.subarray(at, at + whole * blockSize), index);
        at += whole * blockSize;
        continue;
      }
      const part = data.subarray(at, at + blockSize - within);
      if (this.#blockIndex !== index) {
        this.#block ??= Buffer.alloc(blockSize);
        this.#block.fill(0);
        this.#blockIndex = index;
      }
      this.#block?.set(part, within);
      at += part.length;
    }
  }

  /** To be called once, at the end of the region. */
  digest(): Buffer {
    this.#endBlock();
    this.#endRun();
    return this.#hash.digest();
  }

  /** Consecutive blocks are given to SHA-256 together, up to the next block of zeros. */
  #wholeBlocks(data: Uint8Array, first: number): void {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    let from = 0;
    for (let at = 0; at < bytes.length; at += blockSize) {
      // Most blocks with data show it in their first bytes; the full comparison is for the others.
      if (bytes[at] !== 0 || bytes[at + 8] !== 0) continue;
      if (!isZero(bytes.subarray(at, at + blockSize))) continue;
      this.#append(bytes.subarray(from, at), first + from / blockSize);
      from = at + blockSize;
    }
    this.#append(bytes.subarray(from), first + from / blockSize);
  }

  #endBlock(): void {
    const index = this.#blockIndex;
    if (index === -1 || !this.#block) return;
    this.#blockIndex = -1;
    const bytes = this.#block.subarray(0, this.#length - index * blockSize);
    if (!isZero(bytes)) this.#append(bytes, index);
  }

  #append(bytes: Uint8Array, index: number): void {
    for (let at = 0; at < bytes.length;) {
      const block = index + at / blockSize;
      const follows = block === this.#runStart + this.#runBlocks;
      if (!follows || this.#runBlocks === longestRun) {
        this.#endRun();
        this.#runStart = block;
      }
      const part = bytes.subarray(at, at + (longestRun - this.#runBlocks) * blockSize);
      this.#hash.update(part);
      this.#runBytes += part.length;
      this.#runBlocks += Math.ceil(part.length / blockSize);
      at += part.length;
    }
  }

  #endRun(): void {
    if (this.#runBlocks === 0) return;
    const end = Buffer.alloc(8);
    end.writeUInt32LE(this.#runStart, 0);
    end.writeUInt32LE(this.#runBytes, 4);
    this.#hash.update(end);
    this.#runBlocks = 0;
    this.#runBytes = 0;
  }
}
