// Zeros behind the end of a bundle: tapes, `dd conv=sync` and block stores pad a file to whole blocks.
import { isZero } from '../zeros.ts';
import type { BundleSource } from './bundle.ts';

const smallestRead = 4096;
const largestRead = 1024 * 1024;
/** So many zeros behind the end of the data are looked at; what lies behind those is of no interest. */
export const mostZeros = 256 * 1024 * 1024;

/**
 * Where the zeros begin that the file ends in, in bytes; its size when it ends in something else.
 * @param most so many bytes are looked at, from the end
 * @returns undefined when all of those are zeros
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

/** Whether the file has nothing but zeros from `offset` on, as far as `mostZeros`. */
export async function endsInZeros(source: BundleSource, offset: number): Promise<boolean> {
  const end = Math.min(source.size, offset + mostZeros);
  for (let at = offset; at < end; at += largestRead) {
    if (!isZero(await source.read(at, Math.min(largestRead, end - at)))) return false;
  }
  return true;
}
