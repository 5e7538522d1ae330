// Adds the zeros that a source of data leaves out, so that the consumer gets all bytes it asked for.
import type { Extent } from './extent.ts';
import type { DataPiece } from './rbd-diff-stream.ts';

/** Shared by all pieces of zeros: nobody writes to a piece. */
const zeros = Buffer.alloc(1024 * 1024);

/**
 * Yields the bytes of `wanted` (sorted, not overlapping) in order: those of `pieces` (in order, not overlapping), and
 * zeros where there are none. Pieces outside of `wanted` are left out. Reads `pieces` to its end.
 */
export async function* overZeros(
  wanted: Iterable<Extent>,
  pieces: AsyncIterable<DataPiece>,
): AsyncGenerator<Uint8Array, void, void> {
  const extents = wanted[Symbol.iterator]();
  let current = extents.next().value as Extent | undefined;
  let position = current?.offset ?? 0;
  /** Yields zeros up to `to` or the end of the extent, whichever is first. */
  function* zerosUpTo(extent: Extent, to: number): Generator<Uint8Array, void, void> {
    const stop = Math.min(to, extent.offset + extent.length);
    while (position < stop) {
      const piece = zeros.subarray(0, stop - position);
      position += piece.length;
      yield piece;
    }
  }
  /** Goes to the next extent when this one is complete. */
  const advance = (extent: Extent): boolean => {
    if (position < extent.offset + extent.length) return false;
    current = extents.next().value as Extent | undefined;
    position = current?.offset ?? position;
    return true;
  };

  for await (const { offset, data } of pieces) {
    for (let extent = current; extent; extent = current) {
      yield* zerosUpTo(extent, offset);
      if (advance(extent)) continue;
      const taken = data.subarray(position - offset, extent.offset + extent.length - offset);
      if (taken.length === 0) break;
      position += taken.length;
      yield taken;
      if (!advance(extent)) break;
    }
  }
  for (let extent = current; extent; extent = current) {
    yield* zerosUpTo(extent, Infinity);
    advance(extent);
  }
}
