import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { alignExtents } from '../../lib/read/aligned-extents.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { Extents } from '../../lib/read/extents.ts';
import { FailedError } from '../../lib/report/errors.ts';

/** Gaps and lengths of all magnitudes, since a number takes one to eight bytes. */
const bytes = fc.nat(45).chain((bits) => fc.nat(2 ** Math.min(bits, 31)).map((n) => n * 2 ** Math.max(0, bits - 31))); // prettier-ignore
const lists = fc
  .array(fc.tuple(bytes, bytes), { maxLength: 60 })
  .map((pairs) => laidOut(pairs.map(([gap, length]) => [gap + 1, length + 1])));

/** Extents from the holes before them and their lengths. */
function laidOut(pairs: readonly (readonly [gap: number, length: number])[]): Extent[] {
  let end = 0;
  return pairs.map(([gap, length]) => {
    const offset = end + gap;
    end = offset + length;
    return { offset, length };
  });
}

describe('the extents of a disk', () => {
  test('the extents of a disk are given back as they were added, with their number, bytes and end', () => {
    fc.assert(
      fc.property(lists, (list) => {
        const extents = Extents.of(list);
        expect([...extents]).toEqual(list);
        expect(extents.length).toBe(list.length);
        expect(extents.dataBytes).toBe(list.reduce((sum, { length }) => sum + length, 0));
        const last = list.at(-1);
        expect(extents.end).toBe(last ? last.offset + last.length : 0);
      }),
    );
  });

  test('the extents of a disk are complete across the blocks in which they are stored', () => {
    const list = laidOut(
      Array.from({ length: 100_000 }, (_, n) => [1 + 3 ** (n % 20), 1 + 2 ** (n % 31)]),
    );
    expect([...Extents.of(list)]).toEqual(list);
  });

  test('two iterations over the extents of a disk do not disturb each other', () => {
    const list = laidOut([
      [1, 1],
      [2, 200],
      [3, 70_000],
    ]);
    const extents = Extents.of(list);
    const pairs: Extent[][] = [];
    for (const one of extents) for (const other of extents) pairs.push([one, other]);
    expect(pairs).toEqual(list.flatMap((one) => list.map((other) => [one, other])));
  });

  test('extents that touch are one, and none is kept of a disk without data', () => {
    const extents = new Extents();
    expect([...extents]).toEqual([]);
    expect(extents.length).toBe(0);
    for (const offset of [0, 10, 20, 31]) extents.add(offset, 10);
    expect([...extents]).toEqual([
      { offset: 0, length: 30 },
      { offset: 31, length: 10 },
    ]);
    expect([...Extents.whole(0)]).toEqual([]);
    expect([...Extents.whole(7)]).toEqual([{ offset: 0, length: 7 }]);
  });

  test.each([
    ['begins inside the last one', 15, 10],
    ['begins before the last one', 5, 1],
    ['is empty', 30, 0],
    ['has a length below 0', 30, -5],
    ['begins at no number', NaN, 1],
    ['has no number as its length', 30, NaN],
    ['begins between two bytes', 30.5, 1],
    ['ends between two bytes', 30, 1.5],
    ['ends after all numbers', 30, Infinity],
    ['ends where numbers are no longer exact', Number.MAX_SAFE_INTEGER, 1],
  ])('an extent that %s is refused, and changes nothing', (_, offset, length) => {
    const extents = Extents.of([{ offset: 10, length: 10 }]);
    expect(() => {
      extents.add(offset, length);
    }).toThrow(new FailedError(`its map of data is wrong: ${length} bytes at ${offset}, after 20`));
    expect([...extents]).toEqual([{ offset: 10, length: 10 }]);
    expect(extents.dataBytes).toBe(10);
  });
});

test('extents are widened to whole units, those that share one are joined, and none ends after the disk', () => {
  const small = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 40 })), { maxLength: 30 });
  fc.assert(
    fc.property(small, fc.constantFrom(1, 8, 16), fc.nat(20), (pairs, unit, tail) => {
      const list = laidOut(pairs.map(([gap, length]) => [gap, length]));
      const last = list.at(-1);
      const size = (last ? last.offset + last.length : 0) + tail;
      const units = new Set<number>();
      for (const { offset, length } of list) {
        for (let at = offset; at < offset + length; at++) units.add(Math.floor(at / unit));
      }
      const aligned = [...alignExtents(Extents.of(list), unit, size)];
      const found = aligned.flatMap(({ offset, length }) => {
        expect(offset % unit).toBe(0);
        expect(length % unit === 0 || offset + length === size).toBe(true);
        return Array.from({ length: Math.ceil(length / unit) }, (_unused, n) => offset / unit + n);
      });
      expect(found).toEqual([...units].sort((one, other) => one - other));
      aligned.reduce((end, { offset, length }) => {
        expect(offset > end || end === 0).toBe(true);
        return offset + length;
      }, 0);
    }),
  );
});
