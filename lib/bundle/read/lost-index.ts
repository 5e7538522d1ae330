// Recognizes a bundle that lost only its index: all its data and its manifest are there, and can be read from the front.
import { BundleError } from '../../report/errors.ts';
import type { BundleSource } from './bundle.ts';
import { decompress } from './decompress.ts';
import type { Compression } from '../compression/compressions.ts';
import type { Manifest } from '../format/manifest.ts';
import { beginsLikeTrailer, trailerSize } from '../format/trailer.ts';

/**
 * Whether the manifest's frame is complete, so that only the trailer after it is cut off or damaged. In an uncompressed bundle
 * the manifest has no frame of its own, and having read it is enough.
 * @param manifest read from the front, before the position where reading failed
 */
export async function onlyIndexIsLost(
  source: BundleSource,
  manifest: Manifest,
  compression: Compression,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (manifest.compression !== compression) return false;
  if (compression === 'none') return true;
  const last = manifest.members.at(-1);
  if (!last) return false;
  const offset = last.offset + last.stored;
  const first = Math.max(offset, source.size - trailerSize(compression));
  const tail = await source.read(first, Math.max(0, source.size - first));
  for (let at = 0; at < tail.length; at++) {
    if (!beginsLikeTrailer(tail.subarray(at), compression)) continue;
    const range = { offset, length: first + at - offset };
    if (await isUndamaged(decompress(source, range, compression, signal))) return true;
  }
  return false;
}

async function isUndamaged(bytes: AsyncGenerator<Buffer>): Promise<boolean> {
  try {
    while ((await bytes.next()).done !== true);
    return true;
  } catch (error) {
    if (error instanceof BundleError) return false;
    throw error;
  }
}
