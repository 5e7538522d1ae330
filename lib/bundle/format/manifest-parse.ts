// manifest.json from a bundle that is not trusted: only what is well-formed and agrees with itself
// gets out of here. Whether it agrees with the file, indexed-bundle.ts checks.
import { BundleError, errorMessage } from '../../report/errors.ts';
import {
  anything,
  made,
  parseShape,
  readShape,
  type Drop,
  type Shape,
} from '../../run/json-shape.ts';
import type { FrameTable } from './frame-table.ts';
import {
  largestState,
  manifestShape,
  manifestVersion,
  versionShape,
  type FrameList,
  type Manifest,
  type ManifestDisk,
} from './manifest.ts';
import { ManifestScan, type ScannedManifest } from './manifest-scan.ts';
import { memberName } from './member-name.ts';

/** Room for the frames of some 16 TiB. */
export const largestManifest = 96 * 1024 * 1024;

/**
 * The manifest, checked.
 * @param drop told of each optional fact that is left out because it is wrong; without it such a fact is an error
 * @throws BundleError that names what is wrong, also for a version that is not known yet
 */
export function parseManifest(bytes: Buffer, drop?: Drop): Manifest {
  const scan = new ManifestScan();
  scan.push(bytes);
  return parseScanned(scan.end(), drop);
}

/** The same for what was scanned as it came. */
export function parseScanned({ json, tables }: ScannedManifest, drop?: Drop): Manifest {
  const value = parseJson(json);
  checkVersion(value);
  const dropped: Drop | undefined = drop && ((reason) => drop(wrong(reason).message));
  const manifest = readShape(manifestShape(framesOf(tables)), value, wrong, dropped);
  checkMembers(manifest);
  return manifest;
}

/**
 * The scan has taken the lists of frames out of the JSON and left the number of a table in the place of each. Every
 * table belongs to one member, so that a number that is in the manifest itself is refused.
 */
function framesOf(tables: readonly FrameTable[]): Shape<FrameList> {
  const unclaimed = new Map<unknown, FrameTable>(tables.entries());
  return made('a list', (number): FrameList | undefined => {
    const table = unclaimed.get(number);
    unclaimed.delete(number);
    return table;
  });
}

/** @param why begins with the place: `disks[0].id is not a whole number` */
function wrong(why: string): BundleError {
  return new BundleError(`manifest.json: ${why}`);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return parseShape(anything, text, (why) => new BundleError(why));
  } catch (cause) {
    // The parser's message quotes the text, which is hostile.
    throw new BundleError('manifest.json is not JSON', { cause: errorMessage(cause) });
  }
}

/** Before anything else: a later version may have other fields. */
function checkVersion(value: unknown): void {
  const { version } = readShape(versionShape, value, wrong);
  if (version > manifestVersion) {
    throw new BundleError(
      `it was written by a newer onevmdump, in format version ${version}; this one reads version ${manifestVersion}`,
    );
  }
  if (version < 1) throw wrong('version is not a version');
}

/** `./vm.xml` first, then what the VM keeps beside its disks, then one member for each disk, under the name of its id. */
function checkMembers({ members, disks, state = [] }: Manifest): void {
  if (members[0]?.name !== './vm.xml') {
    throw new BundleError('manifest.json: vm.xml is not the first member');
  }
  for (const [index, { member }] of state.entries()) {
    const size = members[index + 1]?.name === member ? members[index + 1]?.size : undefined;
    if (size === undefined || size > largestState[member]) {
      throw new BundleError(`manifest.json: ${member} has no sound member of its own`);
    }
  }
  const ofDisks = members.slice(1 + state.length);
  const sizes = new Map(ofDisks.map(({ name, size }) => [name, size]));
  if (sizes.size !== ofDisks.length || ofDisks.length !== disks.length) {
    throw new BundleError('manifest.json: members and disks do not match');
  }
  const ids = new Set<number>();
  for (const disk of disks) {
    if (ids.has(disk.id)) throw new BundleError(`manifest.json: disk ${disk.id} occurs twice`);
    ids.add(disk.id);
    const named = memberName(disk.member);
    const size = sizes.get(disk.member);
    if (named.kind !== 'disk' || named.id !== disk.id || size === undefined) {
      throw new BundleError(`manifest.json: disk ${disk.id} has no member of its own`);
    }
    checkDisk(disk, size);
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
  if (!sound) throw new BundleError(`manifest.json: the sizes of disk ${id} contradict each other`);
}
