// Reads a disk ahead of the consumer: cuts its extents into requests, several of which are in flight, and gives the pieces
// in order.
import type { Extent } from './extent.ts';

/** What is read, and how its requests must look. All numbers are bytes. */
export interface ReadableDisk {
  /** Fills `target` with the bytes from `offset` on. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** What can be read: the size of the disk, or more if that is not a multiple of `block`. */
  readonly size: number;
  /** Requests begin and end at its multiples, or at `size`. A power of two. */
  readonly block: number;
  /** The longest request; a multiple of `block`. */
  readonly longest: number;
  /** A request costs as much as reading this many bytes, so smaller holes are also read. */
  readonly maxGap: number;
  readonly maxInFlight: number;
}

/** However short they are. */
const maxRequestsInFlight = 256;

interface Request {
  readonly offset: number;
  readonly target: Uint8Array;
  /** The parts of `target` that were asked for, in order. */
  readonly pieces: readonly Uint8Array[];
}

/** Memory of pieces that can be used again. */
export class SpareBuffers {
  readonly #length: number;
  readonly #most: number;
  readonly #spare: Buffer[] = [];

  /**
   * @param length bytes of a buffer; others are not kept
   * @param most how many are kept
   */
  constructor(length: number, most: number) {
    this.#length = length;
    this.#most = most;
  }

  /** Returns a buffer with any content. */
  take(length: number): Buffer {
    return (length === this.#length && this.#spare.pop()) || Buffer.allocUnsafe(length);
  }

  /** Keeps the memory of a piece, if it belongs to this piece alone. */
  giveBack(piece: Uint8Array): void {
    const isWhole = piece.length === this.#length && piece.buffer.byteLength === this.#length;
    if (isWhole && this.#spare.length < this.#most) this.#spare.push(Buffer.from(piece.buffer));
  }
}

/** Yields the bytes of `extents` in order; a piece never spans two of them. @throws the first error of a read */
export async function* readAhead(
  disk: ReadableDisk,
  extents: Iterable<Extent>,
  buffers: SpareBuffers,
): AsyncGenerator<Uint8Array, void, void> {
  const requests = cut(disk, extents, buffers);
  const window: { readonly request: Request; readonly arrived: Promise<void> }[] = [];
  let bytes = 0;
  const topUp = (): void => {
    while (bytes < disk.maxInFlight && window.length < maxRequestsInFlight) {
      const next = requests.next();
      if (next.done === true) return;
      const { offset, target } = next.value;
      const arrived = disk.read(offset, target);
      // Whoever waits for it gets the failure. Without this, a failure before that would be an unhandled rejection.
      arrived.catch(() => undefined);
      window.push({ request: next.value, arrived });
      bytes += target.length;
    }
  };
  topUp();
  for (let next = window.shift(); next; next = window.shift()) {
    await next.arrived;
    const { target, pieces } = next.request;
    bytes -= target.length;
    if (target.length >= disk.longest || window.length < maxRequestsInFlight / 2) topUp();
    yield* pieces;
  }
}

/** Cuts extents at multiples of `longest`. Pieces that are close together become one request. */
function* cut(
  { size, block, longest, maxGap }: ReadableDisk,
  extents: Iterable<Extent>,
  buffers: SpareBuffers,
): Generator<Request, void, void> {
  let near: Extent[] = [];
  const flush = function* (): Generator<Request, void, void> {
    const first = near[0];
    const last = near.at(-1);
    if (!first || !last) return;
    const offset = Math.floor(first.offset / block) * block;
    const end = Math.ceil((last.offset + last.length) / block) * block;
    const target = buffers.take(Math.min(size, end) - offset);
    const pieces = near.map((extent) => {
      return target.subarray(extent.offset - offset, extent.offset - offset + extent.length);
    });
    near = [];
    yield { offset, target, pieces };
  };
  for (const { offset: start, length } of extents) {
    for (let offset = start; offset < start + length;) {
      const cutEnd = (Math.floor(offset / longest) + 1) * longest;
      const part = { offset, length: Math.min(start + length, cutEnd) - offset };
      const last = near.at(-1);
      const gap = last ? offset - (last.offset + last.length) : 0;
      if (offset % longest === 0 || gap > maxGap || crosses(last, offset, longest)) yield* flush();
      near.push(part);
      offset += part.length;
    }
  }
  yield* flush();
}

function crosses(last: Extent | undefined, offset: number, step: number): boolean {
  return last !== undefined && Math.floor(last.offset / step) !== Math.floor(offset / step);
}
