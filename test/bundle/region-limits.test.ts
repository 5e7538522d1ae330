// A region table that is forged does not make a reader take much time or memory.
import { describe, expect, test } from '@jest/globals';
import {
  decodeRegion,
  decodeTableHeader,
  encodeRegion,
  encodeTableHeader,
  tableParts,
} from '../../lib/bundle/format/region-table.ts';
import { readRegion } from '../../lib/bundle/read/region-read.ts';
import type { RegionTable } from '../../lib/bundle/read/disk-regions.ts';
import { memorySource, MiB } from '../support/read-bundle.ts';

const header = {
  virtualSize: 3 * MiB,
  frameSize: MiB,
  frames: 2,
  runs: 5000,
  streamLength: 2 * MiB,
};
const decoded = (changes: Partial<typeof header>) => {
  const forged = { ...header, ...changes };
  return decodeTableHeader(encodeTableHeader(forged), tableParts(forged).end);
};

describe('a region table', () => {
  test('a region table with frames of a size that is allowed is read', () => {
    expect(decoded({})).toEqual(header);
    expect(decoded({ frameSize: 32 * MiB, frames: 1 }).frameSize).toBe(32 * MiB);
  });

  test.each([
    [1, 2 * MiB],
    [512 * 1024, 4],
    [1.5 * MiB, 2],
    [64 * MiB, 1],
  ])('a region table with frames of %s bytes is refused', (frameSize, frames) => {
    expect(() => decoded({ frameSize, frames })).toThrow('contradicts itself');
  });

  test('a region with more runs than it has sectors is refused', () => {
    const bytes = Buffer.alloc(48);
    const region = { hash: Buffer.alloc(32), position: 0, firstRun: 0, kind: 'stored' } as const;
    encodeRegion({ ...region, runs: 2048 }, bytes, 0);
    expect(decodeRegion(bytes, 0, header).runs).toBe(2048);
    encodeRegion({ ...region, runs: 2049 }, bytes, 0);
    expect(() => decodeRegion(bytes, 0, header)).toThrow('a record of its region table is wrong');
  });

  test('a region of a disk that claims to have 8 PiB is refused before memory is taken for it', async () => {
    const table = {
      header: { ...header, virtualSize: 2 ** 53 - 1 },
      regionSize: 2 ** 33,
      region: () => Promise.resolve({ kind: 'zeros', hash: Buffer.alloc(32), position: 0, firstRun: 0, runs: 0 }),
    } as unknown as RegionTable;
    const { source } = memorySource(Buffer.alloc(0));
    await expect(readRegion(source, 'none', table, 0, { label: 'disk 0' })).rejects.toThrow(
      'disk 0: its regions are too large to be read alone',
    );
  });
}); // prettier-ignore
