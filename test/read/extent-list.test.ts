// More extents than memory has room for are joined over their smallest holes.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExtentList } from '../../lib/read/extent-list.ts';

const million = 1_000_000;

describe('a list of extents', () => {
  test('a list of extents joins those that touch, and keeps all others while there is room', () => {
    const list = new ExtentList(10);
    for (const [offset, length] of [
      [0, 512],
      [512, 512],
      [2048, 512],
    ] as const)
      list.add(offset, length);
    expect([...list.extents]).toEqual([
      { offset: 0, length: 1024 },
      { offset: 2048, length: 512 },
    ]);
    expect(list.filledHole).toBe(0);
  });

  test('a list of extents fills the smallest holes first when there are too many, and no large one', () => {
    const list = new ExtentList(8);
    for (let n = 0; n < 4; n++) list.add(n * 8192, 4096);
    for (let n = 1; n < 6; n++) list.add(n * 2 ** 40, 4096);
    expect([...list.extents]).toEqual([
      { offset: 0, length: 3 * 8192 + 4096 },
      ...[1, 2, 3, 4, 5].map((n) => ({ offset: n * 2 ** 40, length: 4096 })),
    ]);
    expect(list.filledHole).toBe(4096);
  });

  test('a list of extents never loses a byte, stays sorted and apart, and never has more than it may', () => {
    const steps = fc.array(fc.tuple(fc.nat(2 ** 20), fc.integer({ min: 1, max: 2 ** 20 })), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 40 }), (gaps, most) => {
        const list = new ExtentList(most);
        const added: { offset: number; length: number }[] = [];
        let at = 0;
        for (const [gap, length] of gaps) {
          added.push({ offset: at + gap, length });
          list.add(at + gap, length);
          at += gap + length;
        }
        const extents = [...list.extents];
        expect(extents.length).toBeLessThanOrEqual(most);
        for (const { offset, length } of added) {
          const inside = extents.some(
            (one) => offset >= one.offset && offset + length <= one.offset + one.length,
          );
          expect(inside).toBe(true);
        }
        for (const [n, { offset }] of extents.entries()) {
          const before = extents[n - 1];
          if (before) expect(offset).toBeGreaterThan(before.offset + before.length);
        }
        const last = extents.at(-1);
        expect(last ? last.offset + last.length : 0).toBe(at);
      }),
    );
  });

  test('a list of extents keeps a million in 10 MB, and fills the holes between them if there are more than it may have', () => {
    const list = new ExtentList(million);
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < million; n++) list.add(n * 131_072, 65_536);
    expect(list.extents.length).toBe(million);
    expect(list.extents.dataBytes).toBe(million * 65_536);
    expect(list.filledHole).toBe(0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10e6);
    list.add(2 ** 45, 65_536);
    expect(Array.from(list.extents)).toEqual([
      { offset: 0, length: (million - 1) * 131_072 + 65_536 },
      { offset: 2 ** 45, length: 65_536 },
    ]);
    expect(list.filledHole).toBe(65_536);
  });
});
