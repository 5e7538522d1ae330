// qcow2 disks in a bundle, judged by qemu-img.
import { statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { layOutQcow2 } from '../../lib/qcow2/layout.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { Extents } from '../../lib/read/extents.ts';
import { makeDisk, testFolder, tool, writeBundle, noCompression } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const none = noCompression;

async function throughBundle(size: number, extents: readonly Extent[], clusterSize: number) {
  const disk = join(folder.path, 'disk.raw');
  const bundle = join(folder.path, 'bundle.tar');
  const qcow2 = join(folder.path, 'backup.disk.0');
  await makeDisk(disk, size, extents);
  const layout = { format: 'qcow2', clusterSize } as const;
  await writeBundle(bundle, none, [{ path: disk, virtualSize: size, extents, layout }]);
  tool('tar', '-xf', bundle, '-C', folder.path, './backup.disk.0');
  await rm(bundle);
  return { disk, qcow2 };
}

const comb = (count: number, length: number, step: number): Extent[] =>
  Array.from({ length: count }, (_, n) => ({ offset: n * step, length }));

interface Info {
  'virtual-size': number;
  'cluster-size': number;
  format: string;
  'backing-filename'?: string;
  'format-specific': { data: { compat: string; 'refcount-bits': number; corrupt: boolean } };
}

const cases: [title: string, size: number, clusterSize: number, extents: readonly Extent[]][] = [
  ['of 0 bytes', 0, 64 * KiB, []],
  ['of 512 bytes', 512, 64 * KiB, [{ offset: 0, length: 512 }]],
  ['without data', 100 * MiB, 64 * KiB, []],
  ['full of data', 8 * MiB, 64 * KiB, [{ offset: 0, length: 8 * MiB }]],
  ['whose last cluster is cut', 3 * MiB + 512, 64 * KiB, [{ offset: 0, length: 3 * MiB + 512 }]],
  ['with data inside clusters only', 4 * MiB, 64 * KiB, comb(4, 1000, MiB + 300)],
  ['with extents that share clusters', MiB, 64 * KiB, comb(100, 512, 1024)],
  [
    'with clusters of 512 bytes',
    5 * MiB,
    512,
    [...comb(7, 3000, 300_000), { offset: 4 * MiB, length: MiB }],
  ],
  ['of 0 bytes with clusters of 512 bytes', 0, 512, []],
  ['of 1 GiB with clusters of 512 bytes', GiB, 512, comb(64, 1024, 16 * MiB)],
  [
    'with clusters of 2 MiB',
    33 * MiB + 1024,
    2 * MiB,
    [
      { offset: 9, length: 9 },
      { offset: 32 * MiB, length: MiB + 1024 },
    ],
  ],
  [
    'of 1 TiB',
    1024 * GiB,
    64 * KiB,
    [
      { offset: 0, length: 512 },
      { offset: 1023 * GiB, length: MiB },
    ],
  ],
  ['of 50,000 extents', 50_000 * 8 * KiB, 4 * KiB, comb(50_000, 4 * KiB, 8 * KiB)],
  [
    'of more clusters than one refcount table cluster covers',
    40 * MiB,
    512,
    [{ offset: 0, length: 40 * MiB }],
  ],
];

describe.each(cases)('a qcow2 disk %s', (kind, size, clusterSize, extents) => {
  let disk: string;
  let qcow2: string;
  beforeAll(async () => {
    ({ disk, qcow2 } = await throughBundle(size, extents, clusterSize));
  });

  test(`a qcow2 disk ${kind} passes qemu-img check without leaks, has the guest data, and stands alone`, () => {
    expect(tool('qemu-img', 'check', '-f', 'qcow2', qcow2)).toMatch(/^No errors were found/);
    if (size > 0) tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', disk, qcow2);
    const info = JSON.parse(
      tool('qemu-img', 'info', '-f', 'qcow2', '--output=json', qcow2),
    ) as Info;
    expect(info).toMatchObject({
      format: 'qcow2',
      'virtual-size': size,
      'cluster-size': clusterSize,
    });
    expect(info['backing-filename']).toBeUndefined();
    expect(info['format-specific'].data).toMatchObject({
      compat: '1.1',
      'refcount-bits': 16,
      corrupt: false,
    });
    expect(statSync(qcow2).size % clusterSize).toBe(0);
  });

  test(`a qcow2 disk ${kind} has no clusters but those that hold data`, () => {
    const clusters = new Set<number>();
    for (const { offset, length } of extents) {
      const last = Math.floor((offset + length - 1) / clusterSize);
      for (let n = Math.floor(offset / clusterSize); n <= last; n++) clusters.add(n);
    }
    const check = JSON.parse(
      tool('qemu-img', 'check', '-f', 'qcow2', '--output=json', qcow2),
    ) as Record<string, number>;
    expect(check['allocated-clusters'] ?? 0).toBe(clusters.size);
  });
});

test('a qcow2 disk with any map of data at any cluster size passes qemu-img check and compare', async () => {
  const maps = fc.record({
    clusterBits: fc.integer({ min: 9, max: 16 }),
    sectors: fc.integer({ min: 1, max: 4000 }),
    points: fc.uniqueArray(fc.nat(4000 * 512), { maxLength: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(maps, async ({ clusterBits, sectors, points }) => {
      const size = sectors * 512;
      const inside = points.filter((point) => point < size).sort((a, b) => a - b);
      const extents: Extent[] = [];
      for (let n = 0; n + 2 < inside.length; n += 2) {
        extents.push({ offset: inside[n]!, length: inside[n + 1]! - inside[n]! });
      }
      const { disk, qcow2 } = await throughBundle(size, extents, 2 ** clusterBits);
      expect(tool('qemu-img', 'check', '-f', 'qcow2', qcow2)).toMatch(/^No errors/);
      tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', disk, qcow2);
    }),
    { numRuns: 25 },
  );
});

test('the qcow2 tables of a full disk of 128 GiB come in small pieces that add up to the layout', () => {
  const size = 128 * GiB;
  const layout = layOutQcow2(size, 64 * KiB, Extents.whole(size));
  let metadata = 0;
  let largest = 0;
  for (const piece of layout.metadata()) {
    metadata += piece.length;
    largest = Math.max(largest, piece.length);
  }
  expect(metadata + size + layout.padding).toBe(layout.fileSize);
  expect(largest).toBeLessThanOrEqual(64 * KiB);
});

test.each([
  ['a size that is not a multiple of 512', 1000, 64 * KiB, /multiple of 512/],
  ['clusters of 256 bytes', 1024, 256, /power of two/],
  ['clusters of 4 MiB', 1024, 4 * MiB, /power of two/],
  ['clusters that are no power of two', 1024, 65_000, /power of two/],
  ['clusters that are no number', 1024, NaN, /power of two/],
  ['more than 128 GiB with clusters of 512 bytes', 129 * GiB, 512, /too small/],
])('a qcow2 disk with %s is refused', (_, size, clusterSize, message) => {
  expect(() => layOutQcow2(size, clusterSize, Extents.of([]))).toThrow(message);
});
