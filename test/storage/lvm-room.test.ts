import { describe, expect, test } from '@jest/globals';
import { requireRoom, snapshotBytes, snapshotExtents } from '../../lib/storage/lvm/room.ts';
import type { Volume, VolumeGroup } from '../../lib/tools/lvm.ts';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

const volume = (bytes: number, facts: Partial<Volume> = {}): Volume => ({
  ...{ group: 'vg', name: 'lv', bytes, active: true, open: true, thin: false, health: '' },
  ...{ origin: undefined, pool: undefined, invalid: false },
  ...{ dataPercent: undefined, metadataPercent: undefined },
  ...facts,
});

const group = (freeBytes: number, volumes: readonly Volume[] = []): VolumeGroup => ({
  name: 'vg',
  extentBytes: 4 * MiB,
  freeBytes,
  volumes: new Map(volumes.map((one) => [one.name, one])),
});

describe('the room for what a guest overwrites', () => {
  test.each([
    ['a share of a large disk', 100 * GiB, { percent: 20, minMb: 1024 }, 20 * GiB],
    ['at least the minimum', 2 * GiB, { percent: 20, minMb: 1024 }, GiB],
    ['less than a byte more is a byte', 1001, { percent: 1, minMb: 0 }, 11],
  ])('the room on LVM for what a guest overwrites is %s', (_, bytes, wish, expected) => {
    expect(snapshotBytes(bytes, wish)).toBe(expected);
  });

  test.each([4 * MiB, 64 * MiB, GiB, 100 * GiB])(
    'the room on LVM of %s bytes is never larger than all chunks and their places, and not less when all is requested',
    (bytes) => {
      const most = snapshotBytes(bytes, { percent: 100, minMb: 1e9 });
      // 16 bytes for each chunk of 4 KiB, and no more than the rounding above that.
      expect(most).toBeGreaterThanOrEqual(bytes + (bytes / 4096) * 16 + 4096);
      expect(most).toBeLessThanOrEqual(bytes + (bytes / 4096) * 16 + 3 * 4096);
    },
  );

  test('the room on LVM for what a guest overwrites is counted in extents of the volume group', () => {
    expect(snapshotExtents(volume(100 * MiB), group(0), { percent: 9, minMb: 1 })).toBe(3);
  });

  test('the room on LVM for what a guest overwrites must be free in the volume group for all thick volumes together', () => {
    const wish = { percent: 10, minMb: 1 };
    const both = [volume(80 * MiB), volume(40 * MiB)];
    expect(() => requireRoom(both, group(12 * MiB), wish)).not.toThrow();
    expect(() => requireRoom(both, group(12 * MiB - 1), wish)).toThrow(
      'the volume group vg has 12.0 MiB free, but the snapshots of 2 disks need 12.0 MiB; see LVM_SNAPSHOT_PERCENT (now 10) and LVM_SNAPSHOT_MIN_MB (now 1)',
    );
  });

  test('the room of thin volumes for what a guest overwrites is looked for in their pool, for what is mapped', () => {
    const wish = { percent: 50, minMb: 1 };
    const thin = volume(100 * MiB, { thin: true, pool: 'pool', dataPercent: 10 });
    const pool = (dataPercent: number): Volume =>
      volume(100 * MiB, { name: 'pool', dataPercent, metadataPercent: 1 });
    expect(() => requireRoom([thin], group(0, [pool(90)]), wish)).not.toThrow();
    expect(() => requireRoom([thin], group(0, [pool(91)]), wish)).toThrow(
      'the thin pool vg/pool has 9.0 MiB free, but the guest may overwrite 10.0 MiB of one disk during an export',
    );
    expect(() => requireRoom([thin], group(0), wish)).toThrow('how full the thin pool vg/pool is');
  });
});
