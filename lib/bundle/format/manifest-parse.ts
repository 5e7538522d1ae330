// manifest.json from a bundle that is not trusted: only what is well-formed and agrees with itself
// gets out of here. Whether it agrees with the file, indexed-bundle.ts checks.
import { BundleError, errorMessage } from '../../report/errors.ts';
import {
  count,
  dictionary,
  fact,
  list,
  oneOf,
  optional,
  shape,
  text,
  time,
  truth,
  wrong,
  type Check,
  type Drop,
} from './json-shape.ts';
import {
  largestState,
  manifestVersion,
  mostDisks,
  mostMembers,
  type Manifest,
  type ManifestDisk,
  type ManifestMember,
} from './manifest.ts';
import { ManifestScan, type ScannedManifest } from './manifest-scan.ts';
import { memberName } from './member-name.ts';

/** Room for the frames of some 16 TiB. */
export const largestManifest = 96 * 1024 * 1024;
const hexDigest: Check = (value, place) => {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) throw wrong(place, 'a SHA-256');
};

/** The number of a table: manifest-scan.ts has taken the list itself out. */
const frames: Check = (value, place) => {
  if (typeof value !== 'number') throw wrong(place, 'a list');
};

/** What oned knew of a disk's image. */
export const imageFactsShape = shape({
  id: count(),
  name: text,
  uname: fact(text),
  type: oneOf('OS', 'CDROM', 'DATABLOCK'),
  persistent: truth,
  datastoreId: count(),
  datastore: fact(text),
  devPrefix: fact(text),
  description: fact(text),
  format: fact(text),
  attributes: fact(dictionary(text)),
});

const manifestShape = shape({
  leftOut: optional(list(count(999_999_999), 2 * mostDisks)),
  tool: shape({ name: text, version: text }),
  created: time,
  compression: oneOf('gzip', 'zstd', 'none'),
  vm: shape({
    id: count(),
    name: text,
    state: text,
    hostname: fact(text),
    uuid: fact(text),
    stime: fact(count()),
  }),
  cloud: fact(shape({ name: fact(text), endpoint: fact(text) })),
  consistency: shape({
    level: oneOf('offline', 'agent', 'suspend', 'crash'),
    at: time,
    frozenMs: count(),
  }),
  members: list(shape({ name: text, size: count(), frames }), mostMembers),
  disks: list(
    shape({
      id: count(999_999_999),
      member: text,
      format: oneOf('raw', 'qcow2'),
      virtualSize: count(),
      dataBytes: count(),
      clusterSize: optional(oneOf(...Array.from({ length: 13 }, (_, bit) => 512 * 2 ** bit))),
      sha256: hexDigest,
      image: fact(imageFactsShape),
    }),
    mostDisks,
  ),
  state: optional(
    list(shape({ member: oneOf('./nvram', './tpm.tar'), sha256: hexDigest }), mostMembers),
  ),
});

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
  manifestShape(value, '', drop);
  const scanned = value as Omit<Manifest, 'members'> & {
    readonly members: readonly (Omit<ManifestMember, 'frames'> & { readonly frames: number })[];
  };
  const unclaimed = new Map(tables.entries());
  const members = scanned.members.map((member, index): ManifestMember => {
    const table = unclaimed.get(member.frames);
    // A number that stands in the manifest itself.
    if (!table) throw wrong(`members[${index}].frames`, 'a list');
    unclaimed.delete(member.frames);
    return { ...member, frames: table };
  });
  const manifest = { ...scanned, members };
  checkMembers(manifest);
  return manifest;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    // The parser's message quotes the text, which is hostile.
    throw new BundleError('manifest.json is not JSON', { cause: errorMessage(cause) });
  }
}

/** Before anything else: a later version may have other fields. */
function checkVersion(value: unknown): void {
  shape({ format: oneOf('onevmdump'), version: count() })(value, '');
  const { version } = value as { readonly version: number };
  if (version > manifestVersion) {
    throw new BundleError(
      `it was written by a newer onevmdump, in format version ${version}; this one reads version ${manifestVersion}`,
    );
  }
  if (version < 1) throw wrong('version', 'a version');
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
