// How many bytes of the tar stream a frame has: docs/decisions/0012-frame-engines.md.
import { mostFrames } from '../format/region-table.ts';

/** Frames for the headers and the map or the tables of a disk. */
export const headFrames = 1024;

/** Bytes. Small, since a reader that wants a few bytes has to decompress a frame. */
export const frameSize = 2 * 1024 * 1024;

/** Bytes: where a program is started for each frame, or where a disk would have too many frames. */
export const largeFrameSize = 8 * 1024 * 1024;

/** @param largestDisk virtual size of the largest disk of the bundle, in bytes */
export function frameSizeFor(startsPrograms: boolean, largestDisk: number): number {
  if (startsPrograms) return largeFrameSize;
  let size = frameSize;
  while (size < largeFrameSize && largestDisk > (mostFrames - headFrames) * size) size *= 2;
  return size;
}
