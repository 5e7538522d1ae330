// Finds where the last frame of a compressed stream ends, for programs that treat zeros after it as damage. Only the
// lengths in the headers are read; nothing is decompressed.
import { BundleError } from '../../report/errors.ts';
import { isZero } from '../zeros.ts';

/**
 * Yields the chunks up to the end of the last frame. Zeros after it are left out. Anything else is passed on, even if it
 * makes no sense: the program itself reports what is wrong with it.
 * @throws BundleError when something follows the zeros
 */
export async function* withoutZeroTail(
  chunks: AsyncIterable<Buffer>,
  walk: FrameWalk,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    const used = walk.advance(chunk);
    if (used > 0) yield chunk.subarray(0, used);
    if (used < chunk.length && !isZero(chunk.subarray(used))) {
      throw new BundleError('something follows the compressed data and the zeros after it');
    }
  }
}

/** Follows frames, headers and blocks through a stream that comes in pieces of any size. A subclass knows the format. */
export abstract class FrameWalk {
  /** What is done with the next field, once all its bytes have come; undefined: a frame may begin here. */
  #next: ((field: Buffer) => void) | undefined;
  #needed = 4;
  #field: Buffer = Buffer.alloc(0);
  /** Bytes to pass over before the next field. */
  #skip = 0;
  /** Zeros have begun where a frame could begin. */
  #ended = false;
  /** The format is not known: everything is passed on. */
  #unknown = false;

  /** Called with the first four bytes of each frame. No frame of ours begins with a zero. */
  protected abstract magic(field: Buffer): void;

  /** Skips `skip` bytes, and calls `then` with the field of `bytes` bytes after them. */
  protected read(bytes: number, then: (field: Buffer) => void, skip = 0): void {
    this.#needed = bytes;
    this.#next = then;
    this.#skip = skip;
  }

  /** The frame ends after `rest` more bytes. */
  protected endFrame(rest: number): void {
    this.#needed = 4;
    this.#next = undefined;
    this.#skip = rest;
  }

  /** The format is not known: everything from here on is passed on. */
  protected passOn(): void {
    this.#unknown = true;
  }

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
      if (this.#next) this.#next(field);
      else this.magic(field);
    }
    return at;
  }

  #atFrame(): boolean {
    return !this.#next && this.#field.length === 0;
  }
}
