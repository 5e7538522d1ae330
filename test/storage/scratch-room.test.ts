import { describe, expect, test } from '@jest/globals';
import { neededRoom } from '../../lib/storage/file/scratch-room.ts';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

describe('the room for scratch files', () => {
  test.each([
    ['a part of all disks together', [100 * GiB, 100 * GiB], 20 * GiB],
    ['not less than the floor', [2 * GiB, 3 * GiB], GiB],
    ['never more than the disks', [100 * MiB, 200 * MiB], 300 * MiB],
  ])('the room for scratch files is %s', (_, sizes, needed) => {
    expect(neededRoom(sizes, { scratchPercent: 10, scratchMinMb: 1024 })).toBe(needed);
  });

  test('the room for scratch files is not looked for when both settings are 0', () => {
    expect(neededRoom([100 * GiB], { scratchPercent: 0, scratchMinMb: 0 })).toBe(0);
  });
});
