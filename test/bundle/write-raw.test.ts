// Raw disks in a bundle, judged by the programs people have: GNU tar, bsdtar and Python.
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { layOutDisk } from '../../lib/bundle/write/disk-member.ts';
import { endOfArchive, fileHeader } from '../../lib/bundle/format/tar-header.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { Extents } from '../../lib/read/extents.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { makeDisk, testFolder, tool, writeBundle, noCompression } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

const MiB = 1 << 20;
const GiB = 1024 * MiB;
const codec = await pickCompressor({ method: 'gzip' });

const untar = 'import tarfile,sys; t=tarfile.open(sys.argv[1]); t.extractall(sys.argv[2])';
const extractors: [string, (bundle: string, to: string) => string][] = [
  ['GNU tar', (bundle, to) => tool('tar', '-xzf', bundle, '-C', to)],
  ['bsdtar', (bundle, to) => tool('bsdtar', '-xf', bundle, '-C', to)],
  ['python3', (bundle, to) => tool('python3', '-c', untar, bundle, to)],
];

/** `count` extents of `length` bytes, one every `step` bytes. */
const comb = (count: number, length: number, step: number): Extent[] =>
  Array.from({ length: count }, (_, n) => ({ offset: n * step, length }));

const disks: [title: string, size: number, extents: readonly Extent[]][] = [
  ['of 0 bytes', 0, []],
  ['of 1 byte', 1, [{ offset: 0, length: 1 }]],
  ['of 511 bytes', 511, [{ offset: 0, length: 511 }]],
  ['of 513 bytes', 513, [{ offset: 0, length: 513 }]],
  ['of an odd size that ends in a hole', 3 * MiB + 77, [{ offset: 4096, length: 12345 }]],
  ['that is one hole', 5 * MiB, []],
  ['that is all data', 3 * MiB, [{ offset: 0, length: 3 * MiB }]],
  ['with a hole at its start', 4 * MiB, [{ offset: 3 * MiB, length: MiB }]],
  ['with a hole at its end', 4 * MiB, [{ offset: 0, length: MiB }]],
  ['longer than a frame', 40 * MiB, [{ offset: MiB, length: 37 * MiB }]],
  ['of 9 GiB', 9 * GiB, [{ offset: 8 * GiB + 512, length: MiB }]],
  ['of 1 TiB with 1 MiB of data', 1024 * GiB, [{ offset: 1000 * GiB, length: MiB }]],
  ['of 50,000 extents', 50_000 * 8192, comb(50_000, 512, 8192)],
];

describe.each(disks)('a raw disk %s', (title, size, extents) => {
  const disk = join(folder.path, `${title}.raw`);
  const bundle = join(folder.path, `${title}.tar.gz`);

  beforeAll(async () => {
    await makeDisk(disk, size, extents);
    await writeBundle(bundle, codec, [
      { path: disk, virtualSize: size, extents, layout: { format: 'raw' } },
    ]);
  });
  afterAll(() => Promise.all([rm(disk), rm(bundle)]));

  test.each(extractors)(
    `a raw disk ${title} is restored by %s with its bytes, size and holes`,
    async (_, extract) => {
      const to = join(folder.path, 'extracted');
      await rm(to, { recursive: true, force: true });
      await mkdir(to);
      extract(bundle, to);
      const restored = join(to, 'backup.disk.0');
      const { size: restoredSize, blocks } = statSync(restored);
      expect(restoredSize).toBe(size);
      tool('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'raw', disk, restored);
      if (size < GiB) tool('cmp', disk, restored);
      // Holes are holes: what is allocated is what the original has, and a block for each run.
      expect(blocks * 512).toBeLessThanOrEqual(statSync(disk).blocks * 512 + 64 * 1024);
      await rm(to, { recursive: true });
    },
  );

  test(`a raw disk ${title} is listed with its virtual size`, () => {
    const line = tool('tar', '-tvzf', bundle)
      .split('\n')
      .find((text) => text.includes('disk.0'));
    expect(line).toMatch(new RegExp(`^-rw------- 0/0 +${size} .* \\./backup\\.disk\\.0$`));
  });
});

test('a raw disk with any map of data comes back identical through GNU tar', async () => {
  const gaps = fc.array(
    fc.record({ gap: fc.nat(5000), length: fc.integer({ min: 1, max: 5000 }) }),
    {
      maxLength: 20,
    },
  );
  await fc.assert(
    fc.asyncProperty(gaps, fc.nat(5000), async (parts, tail) => {
      let end = 0;
      const extents = parts.map(({ gap, length }, n) => {
        const offset = end + gap + (n === 0 ? 0 : 1);
        end = offset + length;
        return { offset, length };
      });
      const disk = join(folder.path, 'any.raw');
      const bundle = join(folder.path, 'any.tar');
      await rm(bundle, { force: true });
      await makeDisk(disk, end + tail, extents);
      await writeBundle(bundle, noCompression, [
        { path: disk, virtualSize: end + tail, extents, layout: { format: 'raw' } },
      ]);
      tool('tar', '-xf', bundle, '-C', folder.path, './backup.disk.0');
      tool('cmp', disk, join(folder.path, 'backup.disk.0'));
      await rm(bundle);
    }),
    { numRuns: 40 },
  );
});

describe('a raw disk with 9 GiB of data', () => {
  const archive = join(folder.path, 'huge.tar');
  const list =
    'import tarfile,sys\nfor m in tarfile.open(sys.argv[1]): print(m.size, m.name.removeprefix("./"))';

  test.each([
    ['GNU tar', 'tar', ['-tvf', archive]],
    ['bsdtar', 'bsdtar', ['-tvf', archive]],
    ['python3', 'python3', ['-c', list, archive]],
  ])(
    'a raw disk with 9 GiB of data is stepped over by %s to the member behind it',
    async (_, program, args) => {
      const now = new Date();
      const size = 10 * GiB;
      const extents = Extents.of([{ offset: GiB, length: 9 * GiB }]);
      const member = layOutDisk('./backup.disk.0', { format: 'raw' }, size, extents, now);
      // The data itself is a hole of the archive.
      writeFileSync(archive, Buffer.concat([...member.head()]));
      truncateSync(archive, statSync(archive).size + 9 * GiB + member.tarPadding);
      const file = await open(archive, 'a');
      await file.write(Buffer.concat([fileHeader('./behind', 0, now), endOfArchive]));
      await file.close();
      const listed = tool(program, ...args);
      expect(listed).toMatch(new RegExp(`\\b${size}\\b.*backup\\.disk\\.0`));
      expect(listed).toMatch(/behind/);
      await rm(archive);
    },
  );
});

test('a raw disk with an extent that ends after the disk is refused', () => {
  const extents = Extents.of([{ offset: 90, length: 11 }]);
  expect(() => layOutDisk('./backup.disk.0', { format: 'raw' }, 100, extents, new Date())).toThrow(
    'its map of data is wrong: it ends at 101, but the disk has 100 bytes',
  );
});
