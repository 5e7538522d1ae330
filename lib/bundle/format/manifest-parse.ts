// Parses about.json and manifest.json of a bundle that is not trusted. Only what is well-formed and does not contradict
// itself is accepted. indexed-bundle.ts checks whether it agrees with the file.
import { isDeepStrictEqual } from 'node:util';
import { BundleError, errorMessage } from '../../report/errors.ts';
import { anything, parseShape, readShape, type Drop, type Shape } from '../../run/json-shape.ts';
import {
  aboutShape,
  isStateMember,
  largestState,
  manifestShape,
  manifestVersion,
  versionShape,
  type About,
  type Manifest,
  type ManifestDisk,
  type ManifestMember,
} from './manifest.ts';
import { memberName, quoted } from './member-name.ts';

/** Bytes of about.json or manifest.json: neither grows with the disks. */
export const largestManifest = 4 * 1024 * 1024;

/**
 * Parses and checks a manifest.
 * @param drop called for each optional fact that is left out because it is wrong; without it, such a fact is an error
 * @throws BundleError that names what is wrong, also for a newer version of the format
 */
export function parseManifest(bytes: Uint8Array, drop?: Drop): Manifest {
  const manifest = parse('manifest.json', manifestShape, bytes, drop);
  checkMembers(manifest);
  return manifest;
}

/** The same for about.json. */
export function parseAbout(bytes: Uint8Array, drop?: Drop): About {
  return parse('about.json', aboutShape, bytes, drop);
}

/** Requires that a manifest says the same as about.json did. @throws BundleError */
export function requireSameAbout(about: About, manifest: Manifest): void {
  // The shape leaves out what only the manifest has.
  const inManifest = readShape(aboutShape, manifest, (why) => new BundleError(why));
  if (!isDeepStrictEqual(about, inManifest)) {
    throw new BundleError('about.json and manifest.json contradict each other');
  }
}

function parse<T>(name: string, shape: Shape<T>, bytes: Uint8Array, drop?: Drop): T {
  /** @param why begins with the place: `disks[0].id is not a whole number` */
  const fail = (why: string) => new BundleError(`${name}: ${why}`);
  if (bytes.length > largestManifest) {
    throw new BundleError(`${name} has more than ${largestManifest} bytes`);
  }
  const value = parseJson(name, bytes);
  checkVersion(value, fail);
  const dropped: Drop | undefined = drop && ((reason) => drop(fail(reason).message));
  return readShape(shape, value, fail, dropped);
}

function parseJson(name: string, bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return parseShape(anything, text, (why) => new BundleError(why));
  } catch (cause) {
    // The parser's message quotes the text, which may be hostile.
    throw new BundleError(`${name} is not JSON`, { cause: errorMessage(cause) });
  }
}

/** Called before anything else is read, because a later version, or one that requires more, may have other fields. */
function checkVersion(value: unknown, fail: (why: string) => BundleError): void {
  const { version, requires = [] } = readShape(versionShape, value, fail);
  if (version > manifestVersion) {
    throw new BundleError(
      `it was written by a newer onevmdump, in format version ${version}; this one reads version ${manifestVersion}`,
    );
  }
  if (version < 1) throw fail('version is not a version');
  const [word] = requires;
  if (word !== undefined) {
    throw new BundleError(
      `it needs an onevmdump that knows ${quoted(word)}, which this one does not`,
    );
  }
}

/**
 * The members are `./vm.xml`, `./about.json`, the VM's state besides its disks, and each disk followed by its region
 * table. Those that a reader may skip can be anywhere after `./about.json`, but not between a disk and its table.
 */
function checkMembers({ members, disks, optional = [] }: Manifest): void {
  const skipped = new Set(optional);
  for (const name of skipped) {
    if (memberName(name, optional).kind !== 'optional') {
      throw wrong(`${quoted(name)} is not a member that may be skipped`);
    }
  }
  const known = members.filter(({ name }) => !skipped.has(name));
  if (members[0]?.name !== './vm.xml' || members[1]?.name !== './about.json') {
    throw wrong('vm.xml and about.json are not the first members');
  }
  if (new Set(members.map(({ name }) => name)).size !== members.length) {
    throw wrong('a member occurs twice');
  }
  for (const member of members) checkSums(member, optional);
  const ofState = known.slice(2, known.length - 2 * disks.length);
  for (const { name, size } of ofState) {
    if (!isStateMember(name) || size > largestState[name]) {
      throw wrong('members and disks do not match');
    }
  }
  const ofDisks = known.slice(2 + ofState.length);
  for (const [n, disk] of disks.entries()) {
    const before = disks[n - 1];
    if (before && before.id >= disk.id) throw wrong(`disk ${disk.id} is not in its place`);
    const named = memberName(disk.member);
    const [member, table] = [ofDisks[2 * n], ofDisks[2 * n + 1]];
    if (
      member?.name !== disk.member ||
      named.kind !== 'disk' ||
      named.id !== disk.id ||
      table?.name !== regionsMember(disk.id) ||
      members[members.indexOf(member) + 1] !== table
    ) {
      throw wrong(`disk ${disk.id} has no member of its own`);
    }
    checkDisk(disk, member.size);
  }
}

/** The name of a disk's region table. @param id DISK_ID */
export function regionsMember(id: number): string {
  return `./regions.disk.${id}`;
}

function checkSums({ name, frames, sha256 }: ManifestMember, optional: readonly string[]): void {
  const isDisk = memberName(name, optional).kind === 'disk';
  if (isDisk !== (frames === undefined) || isDisk !== (sha256 === undefined)) {
    throw wrong(`${quoted(name)} does not have the checksum that it should`);
  }
}

function checkDisk(
  { id, format, virtualSize, dataBytes, clusterSize }: ManifestDisk,
  size: number,
) {
  const sound =
    format === 'raw'
      ? size === virtualSize && dataBytes <= size && clusterSize === undefined
      : size >= dataBytes && clusterSize !== undefined;
  if (!sound) throw wrong(`the sizes of disk ${id} contradict each other`);
}

function wrong(why: string): BundleError {
  return new BundleError(`manifest.json: ${why}`);
}
