// Limits the data of a bundle to what its index has room for.
import { UnsupportedError } from '../../report/errors.ts';
import { largestManifest } from '../format/manifest-parse.ts';
import { frameSize } from './frame-body.ts';

/** Bytes that a frame takes in the manifest at most. */
const frameEntry = 48;

/** Bytes of data that a bundle can hold: readers refuse a manifest with more frames. */
export const largestData = Math.floor(largestManifest / frameEntry) * frameSize;

/**
 * @param data bytes of all disks so far and of the next one
 * @throws UnsupportedError when a bundle cannot hold them, so that this is known before they are read
 */
export function requireRoomInIndex(name: string, data: number): void {
  if (data < largestData) return;
  const tib = Math.floor(largestData / 2 ** 40);
  throw new UnsupportedError(`cannot dump ${name}: a bundle holds at most ${tib} TiB of data`);
}
