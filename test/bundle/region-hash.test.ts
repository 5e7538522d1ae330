// The hash of a region and the checksum of a disk, compared with a plain implementation of the specification.
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DiskChecksum, regionSizeOf } from '../../lib/bundle/format/disk-checksum.ts';
import { RegionHasher, zeroRegionHash } from '../../lib/bundle/format/region-hash.ts';

const block = 4096;
const mib = 2 ** 20;

/** As docs/bundle-format.md says it, without any regard for speed. */
function specified(region: Buffer): string {
  const hash = createHash('sha256');
  let start = -1;
  let bytes = 0;
  const end = () => {
    if (start < 0) return;
    const tail = Buffer.alloc(8);
    tail.writeUInt32LE(start, 0);
    tail.writeUInt32LE(bytes, 4);
    hash.update(tail);
    start = -1;
    bytes = 0;
  };
  for (let at = 0; at < region.length; at += block) {
    const one = region.subarray(at, at + block);
    if (one.every((byte) => byte === 0)) {
      end();
      continue;
    }
    if (start < 0) start = at / block;
    hash.update(one);
    bytes += one.length;
  }
  end();
  return hash.digest('hex');
}

/** A disk with data at a few places. */
const disks = fc.record({
  size: fc.integer({ min: 1, max: 3 * mib + 700 }),
  writes: fc.array(
    fc.record({
      at: fc.nat(3 * mib + 700),
      length: fc.integer({ min: 1, max: 9000 }),
      byte: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 8 },
  ),
  cuts: fc.array(fc.nat(3 * mib + 700), { maxLength: 8 }),
});

function contentOf({
  size,
  writes,
}: {
  size: number;
  writes: { at: number; length: number; byte: number }[];
}) {
  const disk = Buffer.alloc(size);
  for (const { at, length, byte } of writes)
    disk.fill(byte, Math.min(at, size), Math.min(at + length, size));
  return disk;
}

describe('a region hash', () => {
  test('a region hash is that of the specification, however the bytes arrive and whether zeros are given or left out', () => {
    fc.assert(
      fc.property(disks, fc.boolean(), (form, leaveOut) => {
        const region = contentOf(form).subarray(0, mib);
        const hasher = new RegionHasher(region.length);
        const cuts = [
          0,
          ...form.cuts.filter((cut) => cut < region.length).toSorted((a, b) => a - b),
          region.length,
        ];
        for (let n = 1; n < cuts.length; n++) {
          const [from = 0, to = 0] = [cuts[n - 1], cuts[n]];
          const piece = region.subarray(from, to);
          if (leaveOut && piece.every((byte) => byte === 0)) continue;
          hasher.update(piece, from);
        }
        expect(hasher.digest().toString('hex')).toBe(specified(region));
      }),
      { numRuns: 150 },
    );
  });

  test('the hash of a region of zeros is the SHA-256 of nothing', () => {
    const hasher = new RegionHasher(mib);
    hasher.update(Buffer.alloc(mib), 0);
    expect(hasher.digest()).toEqual(zeroRegionHash);
  });

  test('a region hash tells the same data at another place apart', () => {
    const at = (offset: number) => {
      const hasher = new RegionHasher(mib);
      hasher.update(Buffer.alloc(block, 1), offset);
      return hasher.digest().toString('hex');
    };
    expect(at(0)).not.toBe(at(block));
  });
});

describe('a disk checksum', () => {
  test('a disk checksum is the hash of the sizes and of the hashes of all regions', () => {
    fc.assert(
      fc.property(disks, (form) => {
        const disk = contentOf(form);
        const sizes = Buffer.alloc(16);
        sizes.writeBigUInt64LE(BigInt(disk.length), 0);
        sizes.writeBigUInt64LE(BigInt(mib), 8);
        const expected = createHash('sha256').update(sizes);
        for (let at = 0; at < disk.length; at += mib)
          expected.update(Buffer.from(specified(disk.subarray(at, at + mib)), 'hex'));
        const checksum = new DiskChecksum(disk.length);
        checksum.update(disk, 0);
        expect(checksum.digest()).toBe(expected.digest('hex'));
      }),
      { numRuns: 50 },
    );
  });

  test('a disk checksum does not depend on which zeros are given', () => {
    const size = 5 * mib + 512;
    const data = Buffer.alloc(1000, 7);
    const sparse = new DiskChecksum(size);
    sparse.update(data, 2 * mib + 4000);
    const full = new DiskChecksum(size);
    const whole = Buffer.alloc(size);
    data.copy(whole, 2 * mib + 4000);
    full.update(whole, 0);
    expect(full.digest()).toBe(sparse.digest());
  });

  test.each([
    [0, mib],
    [2 ** 40, mib],
    [2 ** 40 + 1, 2 * mib],
    [2 ** 44, 16 * mib],
  ])('a disk of %d bytes has regions of %d bytes', (size, expected) => {
    expect(regionSizeOf(size)).toBe(expected);
  });
});
