// Reads manifest.json from an archive that may be hostile, without ever having all of it in memory.
import type { Log } from '../../report/log.ts';
import type { ByteReader } from './byte-reader.ts';
import { largestManifest, parseScanned } from '../format/manifest-parse.ts';
import type { Manifest } from '../format/manifest.ts';
import { ManifestScan } from '../format/manifest-scan.ts';
import { memberPieces, requirePlain, type TarMember } from './tar-member.ts';

/**
 * Parses and validates the manifest. Optional facts that are not valid are left out with a warning.
 * @param limit bytes that it may have
 * @throws BundleError when it is not valid
 */
export async function readManifestMember(
  input: ByteReader,
  member: TarMember,
  log: Log,
  limit = largestManifest,
): Promise<Manifest> {
  requirePlain(member, limit);
  const scan = new ManifestScan();
  for await (const { data } of memberPieces(input, member)) scan.push(data);
  const dropped: string[] = [];
  let count = 0;
  const manifest = parseScanned(scan.end(), (reason) => {
    count += 1;
    if (dropped.length < 3) dropped.push(reason);
  });
  if (count > 0) {
    const more = count > dropped.length ? `; and ${count - dropped.length} more` : '';
    log.warn(`ignored optional facts that are not valid: ${dropped.join('; ')}${more}`);
  }
  return manifest;
}
