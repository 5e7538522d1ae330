// Where the members of an indexed bundle are in its file. The manifest says it, and must agree with itself and the trailer.
import { BundleError } from '../../report/errors.ts';
import {
  largestStored,
  type FrameList,
  type Manifest,
  type ManifestMember,
} from '../format/manifest.ts';
import { quoted } from '../format/member-name.ts';
import type { Trailer } from '../format/trailer.ts';

/** The entry of a member. @throws BundleError when there is none */
export function memberNamed({ members }: Manifest, name: string): ManifestMember {
  const found = members.find((member) => member.name === name);
  if (found) return found;
  throw new BundleError(`manifest.json: ${quoted(name)} is not one of its members`);
}

/**
 * Checks that the members follow one another without gaps, from the start of the file to the manifest's frame, and so do
 * the frames of each.
 * @throws BundleError when they do not
 */
export function checkPlaces({ members, compression }: Manifest, trailer: Trailer): void {
  if (compression !== trailer.compression) {
    throw new BundleError(`manifest.json says ${compression}, but it is ${trailer.compression}`);
  }
  let end = 0;
  for (const { name, offset, stored, frames } of members) {
    if (offset !== end || stored === 0) {
      throw new BundleError(`manifest.json: ${quoted(name)} is at byte ${offset}, expected ${end}`);
    }
    end += stored;
    if (frames) checkFrames(`manifest.json: ${quoted(name)}`, frames, { offset, end, compression });
  }
  if (end !== trailer.offset) {
    throw new BundleError(
      `manifest.json: the members end at byte ${end}, its own frame begins at byte ${trailer.offset}`,
    );
  }
}

/**
 * Checks that frames follow one another without gaps.
 * @param place for messages
 * @throws BundleError when they do not
 */
export function checkFrames(
  place: string,
  frames: FrameList,
  within: Pick<ManifestMember, 'offset'> & Pick<Manifest, 'compression'> & { readonly end: number },
): void {
  let at = within.offset;
  let index = 0;
  for (const [offset, stored, length] of frames) {
    const wrong = (what: string) => new BundleError(`${place}, frame ${index} ${what}`);
    if (offset !== at) throw wrong(`is at byte ${offset}, expected ${at}`);
    const isSound = within.compression === 'none' ? stored === length : stored <= largestStored;
    if (length === 0 || stored === 0 || !isSound) {
      throw wrong('has no valid length');
    }
    at += stored;
    index += 1;
  }
  if (at !== within.end) {
    throw new BundleError(`${place}: its frames end at byte ${at}, expected ${within.end}`);
  }
}
