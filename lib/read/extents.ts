// Checks the extents of a disk, and widens them to the units a format can express.
import type { Extent } from './disk-reader.ts';
import { FailedError } from '../report/errors.ts';

/**
 * Widens `extents` (sorted, not overlapping) to multiples of `unit` bytes, and joins those that then touch.
 * The last one ends where the disk ends, even if that is not a multiple.
 */
export function alignExtents(
  extents: readonly Extent[],
  unit: number,
  virtualSize: number,
): readonly Extent[] {
  const isAligned = ({ offset, length }: Extent) =>
    offset % unit === 0 && (length % unit === 0 || offset + length === virtualSize);
  // The usual case; there may be millions of them.
  if (extents.every(isAligned)) return extents;
  const aligned: { offset: number; length: number }[] = [];
  for (const { offset, length } of extents) {
    const start = offset - (offset % unit);
    const end = Math.min(Math.ceil((offset + length) / unit) * unit, virtualSize);
    const last = aligned.at(-1);
    if (last && start <= last.offset + last.length) last.length = end - last.offset;
    else aligned.push({ offset: start, length: end - start });
  }
  return aligned;
}

/** Bytes of all extents. */
export function totalLength(extents: readonly Extent[]): number {
  return extents.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Checks extents before they are used: wrong extents would make a wrong bundle.
 * @throws FailedError unless the extents are sorted, apart, not empty and within the disk
 */
export function checkExtents(extents: readonly Extent[], virtualSize: number, doing: string): void {
  let end = 0;
  for (const { offset, length } of extents) {
    const sound =
      Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= end && length > 0;
    if (!sound || offset + length > virtualSize) {
      throw new FailedError(
        `${doing}: its map of data is wrong: ${length} bytes at ${offset}, ` +
          `after ${end}, of a disk of ${virtualSize} bytes`,
      );
    }
    end = offset + length;
  }
}
