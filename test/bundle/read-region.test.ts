// One region of a disk is read alone, whatever the format, the holes and the compression.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { framesOf, memorySource, MiB, scattered, withBundle } from '../support/read-bundle.ts';
import { makeDisk, noLog, testFolder, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

const size = 30 * MiB + 512;
const extents = [
  ...scattered,
  { offset: 7 * MiB + 4096, length: 20 * MiB },
  { offset: 30 * MiB, length: 512 },
];
const methods = ['gzip', 'zstd', 'none'] as const;

beforeAll(async () => {
  await makeDisk(at('disk'), size, extents);
  const disk = { path: at('disk'), virtualSize: size, extents };
  for (const method of methods) {
    await writeBundle(at(method), await pickCompressor({ method }), [
      { ...disk, layout: { format: 'raw' } },
      { ...disk, layout: { format: 'qcow2', clusterSize: 4096 } },
    ]);
  }
});

describe.each(methods)('in a bundle with %s', (method) => {
  test(`every region of a bundle with ${method} is what the disk has there`, async () => {
    const content = readFileSync(at('disk'));
    await withBundle(at(method), async ({ disks }) => {
      for (const disk of disks) {
        for (let n = 0; n * MiB < size; n++) {
          const region = await disk.region!(n);
          expect(region.equals(content.subarray(n * MiB, (n + 1) * MiB))).toBe(true);
        }
      }
    });
  });
});

test('a region that is damaged is refused, and the others are read', async () => {
  const bytes = readFileSync(at('none'));
  const [offset] = await withBundle(at('none'), async (bundle) => (await framesOf(bundle, 0))[1]!);
  bytes[offset + 5000] = bytes[offset + 5000]! ^ 1;
  const bundle = await openBundle(memorySource(bytes).source, { log: noLog });
  const results = await Promise.allSettled(
    Array.from({ length: 31 }, (_, n) => bundle.disks[0]!.region!(n)),
  );
  expect(results.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
  expect(results[0]!.status).toBe('fulfilled');
  expect(results[30]!.status).toBe('fulfilled');
});

test('a region that the disk does not have is refused', async () => {
  await withBundle(at('none'), async ({ disks }) => {
    await expect(disks[0]!.region!(31)).rejects.toThrow('has no region 31');
    await expect(disks[0]!.region!(-1)).rejects.toThrow('has no region -1');
  });
});
