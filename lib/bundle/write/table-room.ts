// Limits a disk to what its region table has room for.
import { UnsupportedError } from '../../report/errors.ts';
import { mostFrames } from '../format/region-table.ts';
import { headFrames, largeFrameSize } from './frame-size.ts';

/** Bytes of data that a disk may have: readers refuse a table with more frames. */
export const largestData = (mostFrames - headFrames) * largeFrameSize;

/**
 * @param data bytes of the disk that will be stored
 * @throws UnsupportedError when a bundle cannot hold them, so that this is known before they are read
 */
export function requireRoomInTable(name: string, data: number): void {
  if (data <= largestData) return;
  const tib = Math.floor(largestData / 2 ** 40);
  throw new UnsupportedError(
    `cannot dump ${name}: a disk has at most ${tib} TiB of data in a bundle`,
  );
}
