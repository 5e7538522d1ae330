import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { diffPieces } from '../../lib/read/rbd-diff-stream.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { data, end, head, inChunks, size, to, u32, u64, zero } from '../support/rbd-streams.ts';

const disk = 1000;
const expectedDiff = { virtualSize: disk, snapshot: 'snap', label: 'disk 0 of VM 7' };
const opening = [head, to('snap'), size(disk)];

/** The disk that the stream tells, with zeros where it tells nothing. */
async function told(
  parts: readonly Buffer[],
  lengths: readonly number[] = [],
  expected: Parameters<typeof diffPieces>[1] = expectedDiff,
): Promise<Buffer> {
  const found = Buffer.alloc(expected.virtualSize);
  for await (const piece of diffPieces(inChunks(Buffer.concat(parts), lengths), expected)) {
    found.set(piece.data, piece.offset);
  }
  return found;
}

const records = fc.array(
  fc.record({
    gap: fc.nat(20),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 30 }),
    written: fc.boolean(),
  }),
  { maxLength: 20 },
);
const chunkLengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

test('the pieces of an rbd export-diff stream are the written records, however the stream is cut', async () => {
  await fc.assert(
    fc.asyncProperty(records, chunkLengths, async (all, lengths) => {
      const expected = Buffer.alloc(disk);
      let at = 0;
      const parts = all.map(({ gap, bytes, written }) => {
        const offset = at + gap;
        at = offset + bytes.length;
        if (written) expected.set(bytes, offset);
        return written ? data(offset, bytes) : zero(offset, bytes.length);
      });
      expect((await told([...opening, ...parts, end], lengths)).equals(expected)).toBe(true);
    }),
  );
});

test('every rbd export-diff stream that is cut short is an error', async () => {
  const whole = Buffer.concat([...opening, data(5, Buffer.alloc(40, 1)), zero(50, 9), end]);
  for (let length = 0; length < whole.length; length++) {
    await expect(told([whole.subarray(0, length)])).rejects.toThrow(FailedError);
  }
});

test('a piece of an rbd export-diff stream has at most 1 MiB', async () => {
  const expected = { ...expectedDiff, virtualSize: 3_000_000 };
  const parts = [head, to('snap'), size(3_000_000), data(0, Buffer.alloc(2_500_000, 1)), end];
  const lengths: number[] = [];
  for await (const piece of diffPieces(inChunks(Buffer.concat(parts)), expected)) {
    lengths.push(piece.data.length);
  }
  expect(lengths).toEqual([2 ** 20, 2 ** 20, 2_500_000 - 2 ** 21]);
});

test('an rbd export-diff stream of the image itself has no name of a snapshot', async () => {
  const image = { ...expectedDiff, snapshot: undefined };
  expect(await told([head, size(disk), end], [], image)).toEqual(Buffer.alloc(disk));
  await expect(told([...opening, end], [], image)).rejects.toThrow(
    'gave snap instead of the image',
  );
});

describe('a stream is refused', () => {
  const five = Buffer.alloc(5, 1);
  test.each<[string, readonly Buffer[], string]>([
    ['that is something else', [Buffer.from('rbd: error opening image')], 'no diff of format 1'],
    ['of format 2', [Buffer.from('rbd diff v2\n')], 'no diff of format 1'],
    ['of another snapshot', [head, to('pans'), size(disk), end], 'gave pans instead of snap'],
    ['without the name of its snapshot', [head, size(disk), end], 'gave the image instead of snap'],
    [
      'that is a difference to a snapshot',
      [head, Buffer.from('f'), u32(1), Buffer.from('a'), ...opening.slice(1), end],
      'not allowed there: "f"',
    ],
    ['of another size', [head, to('snap'), size(disk - 1), end], 'resized meanwhile?'],
    ['without a size', [head, to('snap'), end], 'unknown bytes'],
    ['with two sizes', [...opening, size(disk), end], 'not allowed there: "s"'],
    ['with data before its size', [head, to('snap'), data(0, five), end], 'unknown bytes'],
    [
      'with a size behind its data',
      [...opening, data(0, five), size(disk), end],
      'not allowed there',
    ],
    [
      'with a name behind its data',
      [...opening, data(0, five), to('snap'), end],
      'not allowed there',
    ],
    ['with a name of 4 GiB', [head, Buffer.from('t'), u32(2 ** 32 - 1)], 'too long'],
    ['with an unknown record', [...opening, Buffer.from('x')], 'not allowed there: "x"'],
    [
      'with data after the end of the disk',
      [...opening, data(996, five), end],
      'after the end of the disk',
    ],
    [
      'with zeros after the end of the disk',
      [...opening, zero(999, 2), end],
      'after the end of the disk',
    ],
    [
      'with data far after the end of the disk',
      [...opening, data(2 ** 52, five), end],
      'after the end of the disk',
    ],
    ['with an offset beyond all numbers', [...opening, data(2n ** 64n - 1n, five), end], 'too big'],
    [
      'with a length beyond all numbers',
      [...opening, Buffer.from('w'), u64(0), u64(2n ** 63n)],
      'too big',
    ],
    ['with no data', [...opening, data(0, Buffer.alloc(0)), end], 'out of order'],
    ['with the same data twice', [...opening, data(0, five), data(4, five), end], 'out of order'],
    ['that goes backwards', [...opening, zero(50, 5), data(0, five), end], 'out of order'],
    ['that continues after its end', [...opening, end, end], 'continues after its end'],
  ])('an rbd export-diff stream is refused: %s', async (_, parts, message) => {
    await expect(told(parts)).rejects.toThrow(message);
    await expect(told(parts, [1])).rejects.toThrow('cannot read disk 0 of VM 7: rbd export-diff');
  });
});

test('whoever stops reading an rbd export-diff stream early ends it', async () => {
  let closed = false;
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      yield* inChunks(Buffer.concat([...opening, data(0, Buffer.alloc(9)), end]), [1]);
    } finally {
      closed = true;
    }
  }
  for await (const piece of diffPieces(chunks(), expectedDiff)) {
    expect(piece.offset).toBe(0);
    break;
  }
  expect(closed).toBe(true);
});
