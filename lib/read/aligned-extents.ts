// Widens the extents of a disk to the units that a format can express.
import type { Extent } from './extent.ts';
import { Extents } from './extents.ts';

/**
 * Widens `extents` to multiples of `unit` bytes, and joins those that then touch. The last one ends where the disk ends,
 * even if that is not a multiple.
 */
export function alignExtents(extents: Extents, unit: number, virtualSize: number): Extents {
  const isAligned = ({ offset, length }: Extent) =>
    offset % unit === 0 && (length % unit === 0 || offset + length === virtualSize);
  // The usual case; there may be millions of them.
  if (every(extents, isAligned)) return extents;
  const aligned = new Extents();
  for (const { offset, length } of extents) {
    // Two extents may share a unit.
    const start = Math.max(offset - (offset % unit), aligned.end);
    const end = Math.min(Math.ceil((offset + length) / unit) * unit, virtualSize);
    if (end > start) aligned.add(start, end - start);
  }
  return aligned;
}

function every(extents: Extents, holds: (extent: Extent) => boolean): boolean {
  for (const extent of extents) {
    if (!holds(extent)) return false;
  }
  return true;
}
