// Before a manifest is written, checks it by the reader's rules. A bundle that no reader accepts must not get its name,
// and it is better to refuse it before its disks are read than afterwards.
import { BundleError, FailedError } from '../../report/errors.ts';
import { checkFrames } from '../read/indexed-bundle.ts';
import { parseManifest } from '../format/manifest-parse.ts';
import { manifestVersion, type Manifest } from '../format/manifest.ts';
import type { Trailer } from '../format/trailer.ts';

/**
 * Checks a whole manifest by the reader's own rules.
 * @param name of the bundle, for messages
 * @throws FailedError when a reader would refuse it
 */
export function readBack(name: string, json: Buffer): Manifest {
  return asReader(name, () => parseManifest(json));
}

/** The same for the places of the frames, which are known once the last frame was written. */
export function readBackFrames(name: string, manifest: Manifest, trailer: Trailer): void {
  asReader(name, () => checkFrames(manifest, trailer));
}

/**
 * Checks what is known before the disks are read.
 * @param known the manifest, as far as it is known
 * @throws FailedError when a reader would refuse the manifest, whatever is on the disks
 */
export function readBackBeforehand(
  name: string,
  known: Pick<
    Manifest,
    'tool' | 'vm' | 'cloud' | 'consistency' | 'created' | 'compression' | 'leftOut' | 'disks'
  >,
): void {
  const manifest: Manifest = {
    format: 'onevmdump',
    version: manifestVersion,
    ...known,
    members: ['./vm.xml', ...known.disks.map(({ member }) => member)].map((member) => ({
      name: member,
      size: 0,
      frames: [],
    })),
  };
  readBack(name, Buffer.from(JSON.stringify(manifest)));
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
