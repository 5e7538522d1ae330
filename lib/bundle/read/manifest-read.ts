// Reads about.json and manifest.json from an archive that may be hostile.
import type { Drop } from '../../run/json-shape.ts';
import type { Log } from '../../report/log.ts';
import { largestManifest, parseAbout, parseManifest } from '../format/manifest-parse.ts';
import type { About, Manifest } from '../format/manifest.ts';
import type { ByteReader } from './byte-reader.ts';
import { memberBytes, type TarMember } from './tar-member.ts';

/** manifest.json, and its bytes. */
export interface ReadManifest {
  readonly manifest: Manifest;
  readonly bytes: Buffer;
}

/**
 * Parses and validates the manifest. Optional facts that are not valid are left out with a warning.
 * @throws BundleError when it is not valid
 */
export async function readManifestMember(
  input: ByteReader,
  member: TarMember,
  log: Log,
): Promise<ReadManifest> {
  const bytes = await memberBytes(input, member, largestManifest);
  return { manifest: withWarning(log, (drop) => parseManifest(bytes, drop)), bytes };
}

/** The same for about.json. Nothing is said of facts that are left out, because the manifest has them too. */
export async function readAboutMember(input: ByteReader, member: TarMember): Promise<About> {
  const bytes = await memberBytes(input, member, largestManifest);
  return parseAbout(bytes, () => undefined);
}

function withWarning<T>(log: Log, read: (drop: Drop) => T): T {
  const dropped: string[] = [];
  let count = 0;
  const result = read((reason) => {
    count += 1;
    if (dropped.length < 3) dropped.push(reason);
  });
  if (count > 0) {
    const more = count > dropped.length ? `; and ${count - dropped.length} more` : '';
    log.warn(`ignored optional facts that are not valid: ${dropped.join('; ')}${more}`);
  }
  return result;
}
