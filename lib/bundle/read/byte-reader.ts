// Reads exact numbers of bytes from a stream of chunks, which is what parsing a tar archive needs.
import { LostEndError } from '../lost-end-error.ts';

export class ByteReader {
  /** Bytes returned so far. */
  position = 0;
  readonly #chunks: AsyncIterator<Buffer, unknown>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Between 1 and `most` bytes, without copying, valid until the next call; undefined at the end of the stream. */
  async next(most: number): Promise<Buffer | undefined> {
    if (await this.atEnd()) return undefined;
    const given = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(given.length);
    this.position += given.length;
    return given;
  }

  /** Whether the stream has ended. Waits for the next chunk, so that its source has checked everything returned before. */
  async atEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return true;
      this.#rest = value;
    }
    return false;
  }

  /** Like `next`, when more must follow. @throws LostEndError at the end of the stream */
  async some(most: number): Promise<Buffer> {
    const given = await this.next(most);
    if (given) return given;
    throw new LostEndError(`the archive ends early, at byte ${this.position} of the tar stream`);
  }

  /** Exactly `length` bytes, which may be kept. @throws LostEndError when the stream ends before */
  async take(length: number): Promise<Buffer> {
    const taken = Buffer.allocUnsafe(length);
    for (let done = 0; done < length;) {
      const part = await this.some(length - done);
      part.copy(taken, done);
      done += part.length;
    }
    return taken;
  }

  /** Skips `length` bytes. @throws LostEndError when the stream ends before */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0;) left -= (await this.some(left)).length;
  }

  /** Drops what was not read, and closes the processes and files of the stream. */
  async close(): Promise<void> {
    this.#rest = Buffer.alloc(0);
    await this.#chunks.return?.();
  }
}
