import { describe, expect, test } from '@jest/globals';
import { neededRoom } from '../../lib/storage/job/scratch-room.ts';
import { lowWaterMark } from '../../lib/storage/job/space-watch.ts';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

describe('the room for scratch files', () => {
  test.each([
    ['a part of all disks together', 200 * GiB, 20 * GiB],
    ['not less than the floor', 5 * GiB, GiB],
    ['never more than the disks', 300 * MiB, 300 * MiB],
  ])('the room for scratch files is %s', (_, bytes, needed) => {
    expect(neededRoom(bytes, { scratchPercent: 10, scratchMinMb: 1024 })).toBe(needed);
  });

  test('the room for scratch files is not looked for when both settings are 0', () => {
    expect(neededRoom(100 * GiB, { scratchPercent: 0, scratchMinMb: 0 })).toBe(0);
  });
});

describe('the free space below which a backup job is ended', () => {
  test.each([
    ['half a gibibyte', 20 * GiB, 100 * GiB, 512 * MiB],
    ['half of what was free, on a small file system', 64 * MiB, GiB, 32 * MiB],
    ['what others have left, when all disks fit into it', 700 * MiB, 600 * MiB, 100 * MiB],
    ['a little, when all disks just fit into it', 601 * MiB, 600 * MiB, 16 * MiB],
    ['half a gibibyte, when there is room in plenty', 900 * GiB, 600 * GiB, 512 * MiB],
  ])('the free space below which a backup job is ended is %s', (_, freeBytes, diskBytes, mark) => {
    expect(lowWaterMark({ folder: '/', freeBytes, diskBytes })).toBe(mark);
  });
});
