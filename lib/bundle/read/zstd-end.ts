// Where the last zstd frame of a stream ends: the program zstd takes zeros behind it for damage. Only the
// lengths in the headers are read, nothing is decompressed. Source: RFC 8878, 3.1.1 and 3.1.2.
import { BundleError } from '../../report/errors.ts';
import { isZero } from '../zeros.ts';

/**
 * The chunks up to the end of the last frame. Zeros behind it are left out; anything else, also what makes no
 * sense, is passed on: zstd itself says what is wrong with it.
 * @throws BundleError when something follows the zeros
 */
export async function* withoutZeroTail(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const walk = new FrameWalk();
  for await (const chunk of chunks) {
    const used = walk.advance(chunk);
    if (used > 0) yield chunk.subarray(0, used);
    if (used < chunk.length && !isZero(chunk.subarray(used))) {
      throw new BundleError('something follows the compressed data and the zeros behind it');
    }
  }
}

const zstdMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a5;

/** Follows frames, headers and blocks through a stream that comes in pieces of any size. */
class FrameWalk {
  /** What is read next, once all its bytes have come. */
  #next: (field: Buffer) => void = this.#magic;
  #needed = 4;
  #field: Buffer = Buffer.alloc(0);
  /** Bytes to pass over before the next field. */
  #skip = 0;
  #hasChecksum = false;
  /** Zeros have begun where a frame could. */
  #ended = false;
  /** It is no zstd as we know it: everything is passed on. */
  #unknown = false;

  /** @returns how many bytes of the chunk belong to frames */
  advance(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && !this.#ended) {
      if (this.#unknown) return chunk.length;
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      // The first zero where a frame may begin: no magic number begins with one.
      if (this.#atFrame() && chunk[at] === 0) {
        this.#ended = true;
        break;
      }
      const part = chunk.subarray(at, at + this.#needed - this.#field.length);
      this.#field = this.#field.length === 0 ? part : Buffer.concat([this.#field, part]);
      at += part.length;
      if (this.#field.length < this.#needed) break;
      const field = this.#field;
      this.#field = Buffer.alloc(0);
      this.#next(field);
    }
    return at;
  }

  #atFrame(): boolean {
    return this.#next === this.#magic && this.#field.length === 0;
  }

  #read(bytes: number, then: (field: Buffer) => void, skip = 0): void {
    this.#needed = bytes;
    this.#next = then;
    this.#skip = skip;
  }

  #magic(field: Buffer): void {
    const magic = field.readUInt32LE(0);
    if (magic === zstdMagic) this.#read(1, this.#descriptor);
    else if (magic >>> 4 === skippableMagic) this.#read(4, this.#skippable);
    else this.#unknown = true;
  }

  #skippable(field: Buffer): void {
    this.#read(4, this.#magic, field.readUInt32LE(0));
  }

  #descriptor([descriptor = 0]: Buffer): void {
    const single = (descriptor & 0x20) !== 0;
    const sizes = [single ? 1 : 0, 2, 4, 8];
    const dictionaries = [0, 1, 2, 4];
    this.#hasChecksum = (descriptor & 4) !== 0;
    const header = (sizes[descriptor >>> 6] ?? 0) + (dictionaries[descriptor & 3] ?? 0);
    this.#read(3, this.#block, header + (single ? 0 : 1));
  }

  #block(field: Buffer): void {
    const header = field.readUIntLE(0, 3);
    const isLast = (header & 1) !== 0;
    const isRle = ((header >>> 1) & 3) === 1;
    const stored = isRle ? 1 : header >>> 3;
    if (!isLast) this.#read(3, this.#block, stored);
    else this.#read(4, this.#magic, stored + (this.#hasChecksum ? 4 : 0));
  }
}
