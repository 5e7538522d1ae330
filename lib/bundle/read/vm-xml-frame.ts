// Checks vm.xml of a bundle that is read from the front. The manifest has no checksum of vm.xml itself, but a CRC of each frame
// that contained it, together with the headers of the folder and of vm.xml.
import { crc32 } from 'node:zlib';
import { BundleError } from '../../report/errors.ts';
import type { ByteReader } from './byte-reader.ts';
import { framesOf } from './indexed-bundle.ts';
import type { Manifest } from '../format/manifest.ts';

/**
 * Compares the start of the archive with the first frames of the manifest.
 * @param start the tar stream, from its start
 * @throws BundleError when they differ
 */
export async function checkVmXml(manifest: Manifest, start: ByteReader): Promise<void> {
  for (const [, , length, crc] of framesOf(manifest, './vm.xml')) {
    if (crc32(await start.take(length)) === crc) continue;
    throw new BundleError('vm.xml is not the one that its manifest was written for');
  }
}
