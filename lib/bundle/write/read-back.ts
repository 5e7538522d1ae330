// Before a manifest is written, checks it by the reader's rules. A bundle that no reader accepts must not get its name,
// and it is better to refuse it before its disks are read than afterwards.
import { BundleError, FailedError } from '../../report/errors.ts';
import { checkPlaces } from '../read/member-places.ts';
import { parseAbout, parseManifest, requireSameAbout } from '../format/manifest-parse.ts';
import type { About, Manifest } from '../format/manifest.ts';
import type { Trailer } from '../format/trailer.ts';

/**
 * Checks what is known before the disks are read, by the reader's own rules.
 * @param name of the bundle, for messages
 * @returns as a reader reads it
 * @throws FailedError when a reader would refuse it, whatever is on the disks
 */
export function readBackAbout(name: string, json: Buffer): About {
  return asReader(name, () => parseAbout(json));
}

/** The same for a whole manifest. @param about what about.json says, as `readBackAbout` returns it */
export function readBack(name: string, json: Buffer, about: About): Manifest {
  return asReader(name, () => {
    const manifest = parseManifest(json);
    requireSameAbout(about, manifest);
    return manifest;
  });
}

/** The same for the places of the members, which are known once the last frame was written. */
export function readBackPlaces(name: string, manifest: Manifest, trailer: Trailer): void {
  asReader(name, () => checkPlaces(manifest, trailer));
}

function asReader<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    throw new FailedError(`cannot write ${name}: no reader would accept it: ${error.message}`, {
      cause: error,
    });
  }
}
