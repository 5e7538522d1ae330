// Finds zeros after the end of a bundle: tapes, `dd conv=sync` and block stores pad a file to whole blocks.
import { isZero } from '../zeros.ts';
import type { BundleSource } from './bundle.ts';

const smallestRead = 4096;
const largestRead = 1024 * 1024;
/** At most this many bytes of zeros after the end of the data are read. */
export const mostZeros = 256 * 1024 * 1024;

/**
 * The offset at which the zeros at the end of the file begin; the file's size when it does not end with zeros.
 * @param most bytes that are read from the end
 * @returns undefined when all of these are zeros
 */
export async function findZeroTail(
  source: BundleSource,
  most: number,
): Promise<number | undefined> {
  const first = Math.max(0, source.size - most);
  let size = smallestRead;
  for (let end = source.size; end > first;) {
    const start = Math.max(first, end - size);
    const bytes = await source.read(start, end - start);
    if (!isZero(bytes)) return start + bytes.findLastIndex((byte) => byte !== 0) + 1;
    end = start;
    size = largestRead;
  }
  return undefined;
}

/** Whether the `mostZeros` bytes after `offset` are all zeros. */
export async function endsInZeros(source: BundleSource, offset: number): Promise<boolean> {
  const end = Math.min(source.size, offset + mostZeros);
  for (let at = offset; at < end; at += largestRead) {
    if (!isZero(await source.read(at, Math.min(largestRead, end - at)))) return false;
  }
  return true;
}
