// Parses the stream of `rbd export-diff`, format 1: the data of an image, in order, without its holes.
// Format: Ceph's documentation, dev/rbd-diff ("RBD Incremental Backup").
import { FailedError } from '../report/errors.ts';

const header = Buffer.from('rbd diff v1\n');
const maxPiece = 1024 * 1024;
const maxName = 4096;

/** Data of the disk at `offset`; at most 1 MiB. */
export interface DataPiece {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What the stream must contain. */
export interface ExpectedDiff {
  /** Bytes. */
  readonly virtualSize: number;
  /** The snapshot; undefined for the image itself. */
  readonly snapshot: string | undefined;
  /** Names the disk in messages. */
  readonly label: string;
}

/**
 * Yields the data of a full diff; everything between the pieces is zeros. Ends only after the stream's own end
 * mark, with nothing after it.
 * @throws FailedError when the stream is cut short, malformed, or of another image.
 */
export async function* diffPieces(
  chunks: AsyncIterable<Uint8Array>,
  { virtualSize, snapshot, label }: ExpectedDiff,
): AsyncGenerator<DataPiece, void, void> {
  const wrong = (why: string): FailedError =>
    new FailedError(`cannot read ${label}: rbd export-diff ${why}`);
  const bytes = new Bytes(chunks, wrong);
  try {
    if (!header.equals(await bytes.take(header.length))) throw wrong('gave no diff of format 1');
    let size: number | undefined;
    let name: string | undefined;
    let end: number | undefined;
    for (;;) {
      const tag = String.fromCharCode((await bytes.take(1)).readUInt8());
      if (tag === 'e') break;
      if (tag === 'w' || tag === 'z') {
        if (end === undefined) requireIdentity(size, name);
        end ??= 0;
        const offset = await bytes.number();
        const length = await bytes.number();
        if (length === 0 || offset < end) throw wrong('gave its data out of order');
        if (length > virtualSize - offset) {
          throw wrong(`gave data after the end of the disk: ${length} bytes at ${offset}`);
        }
        end = offset + length;
        if (tag === 'z') continue;
        for (let at = offset; at < end;) {
          const data = await bytes.some(Math.min(maxPiece, end - at));
          yield { offset: at, data };
          at += data.length;
        }
      } else if (end === undefined && tag === 's' && size === undefined) {
        size = await bytes.number();
      } else if (end === undefined && tag === 't' && name === undefined) {
        const length = (await bytes.take(4)).readUInt32LE();
        if (length > maxName) throw wrong('gave a name that is too long');
        name = (await bytes.take(length)).toString();
      } else {
        throw wrong(`gave a record that is not allowed there: ${JSON.stringify(tag)}`);
      }
    }
    if (end === undefined) requireIdentity(size, name);
    await bytes.requireEnd();
  } finally {
    await bytes.close();
  }

  function requireIdentity(size: number | undefined, name: string | undefined): void {
    if (name !== snapshot) {
      throw wrong(`gave ${name ?? 'the image'} instead of ${snapshot ?? 'the image'}`);
    }
    if (size === virtualSize) return;
    throw wrong(
      `gave a disk of ${size ?? 'unknown'} bytes instead of ${virtualSize}; has it been resized meanwhile?`,
    );
  }
}

/** Takes exact numbers of bytes out of chunks. */
class Bytes {
  readonly #chunks: AsyncIterator<Uint8Array, unknown>;
  readonly #wrong: (why: string) => FailedError;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Uint8Array>, wrong: (why: string) => FailedError) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#wrong = wrong;
  }

  /** Whether more bytes follow. */
  async #more(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return false;
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }

  /** Takes between 1 and `most` bytes, without copying. */
  async some(most: number): Promise<Buffer> {
    if (!(await this.#more())) throw this.#wrong('ended early');
    const given = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(given.length);
    return given;
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = length; missing > 0;) {
      const part = await this.some(missing);
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
  }

  /** Takes a 64-bit little-endian number. */
  async number(): Promise<number> {
    const value = (await this.take(8)).readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#wrong('gave a number that is too big');
    return Number(value);
  }

  async requireEnd(): Promise<void> {
    if (await this.#more()) throw this.#wrong('continues after its end');
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
