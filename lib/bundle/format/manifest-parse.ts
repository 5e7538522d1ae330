// Parses the manifest.json of a bundle that is not trusted. It accepts only a manifest that is well-formed and does not
// contradict itself. indexed-bundle.ts checks whether it agrees with the file.
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

/** Bytes: enough for the frames of about 16 TiB. */
export const largestManifest = 96 * 1024 * 1024;

/**
 * Parses and checks a manifest.
 * @param drop called for each optional fact that is left out because it is wrong; without it, such a fact is an error
 * @throws BundleError that names what is wrong, also for a newer version of the format
 */
export function parseManifest(bytes: Buffer, drop?: Drop): Manifest {
  const scan = new ManifestScan();
  scan.push(bytes);
  return parseScanned(scan.end(), drop);
}

/** The same for a manifest that was scanned while it arrived. */
export function parseScanned({ json, tables }: ScannedManifest, drop?: Drop): Manifest {
  const value = parseJson(json);
  checkVersion(value);
  const dropped: Drop | undefined = drop && ((reason) => drop(wrong(reason).message));
  const manifest = readShape(manifestShape(framesOf(tables)), value, wrong, dropped);
  checkMembers(manifest);
  return manifest;
}

/**
 * The scan has replaced each list of frames in the JSON by the number of a table. Each table is used only once, so a
 * manifest that itself has such a number in place of a list is refused.
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
    // The parser's message quotes the text, which may be hostile.
    throw new BundleError('manifest.json is not JSON', { cause: errorMessage(cause) });
  }
}

/** Called before anything else is read, because a later version may have other fields. */
function checkVersion(value: unknown): void {
  const { version } = readShape(versionShape, value, wrong);
  if (version > manifestVersion) {
    throw new BundleError(
      `it was written by a newer onevmdump, in format version ${version}; this one reads version ${manifestVersion}`,
    );
  }
  if (version < 1) throw wrong('version is not a version');
}

/** The members are `./vm.xml`, then the VM's state besides its disks, then one for each disk, named by the disk's id. */
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
