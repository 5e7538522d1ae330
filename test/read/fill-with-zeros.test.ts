import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { overZeros } from '../../lib/read/fill-with-zeros.ts';
import type { DataPiece } from '../../lib/read/rbd-diff-stream.ts';

/** Spans in order and apart, as gaps and lengths. */
const spans = fc.array(fc.tuple(fc.nat(6), fc.integer({ min: 1, max: 9 })), { maxLength: 12 });

function laidOut(gaps: readonly (readonly [number, number])[]) {
  let at = 0;
  return gaps.map(([gap, length]) => {
    const offset = at + gap;
    at = offset + length;
    return { offset, length };
  });
}

test('the wanted ranges of a disk come in order: data where there is some, zeros elsewhere', async () => {
  await fc.assert(
    fc.asyncProperty(spans, spans, async (wantedGaps, pieceGaps) => {
      const disk = Buffer.alloc(300);
      const pieces: DataPiece[] = laidOut(pieceGaps).map(({ offset, length }) => {
        const data = disk.subarray(offset, offset + length);
        for (let at = 0; at < length; at++) data[at] = ((offset + at) % 255) + 1;
        return { offset, data: Buffer.from(data) };
      });
      const wanted = laidOut(wantedGaps);
      const found: Uint8Array[] = [];
      const given = (async function* () {
        for (const piece of pieces) yield await Promise.resolve(piece);
      })();
      for await (const piece of overZeros(wanted, given)) found.push(Buffer.from(piece));
      expect(found.every(({ length }) => length > 0)).toBe(true);
      const expected = wanted.map(({ offset, length }) => disk.subarray(offset, offset + length));
      expect(Buffer.concat(found).equals(Buffer.concat(expected))).toBe(true);
      // No piece spans two extents: the ends of the extents are ends of pieces.
      const ends = new Set<number>();
      found.reduce((sum, { length }) => (ends.add(sum + length), sum + length), 0);
      wanted.reduce((sum, { length }) => {
        expect(ends.has(sum + length)).toBe(true);
        return sum + length;
      }, 0);
    }),
    { numRuns: 1000 },
  );
});

test('a long stretch of zeros of a disk comes in pieces of at most 1 MiB', async () => {
  const none = (async function* (): AsyncGenerator<DataPiece> {})();
  let sum = 0;
  for await (const piece of overZeros([{ offset: 7, length: 5_000_000 }], none)) {
    expect(piece.length).toBeLessThanOrEqual(2 ** 20);
    sum += piece.length;
  }
  expect(sum).toBe(5_000_000);
});
