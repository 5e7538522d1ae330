// manifest.json from a bundle that is not trusted: only what is well-formed and agrees with itself
// gets out of here. Whether it agrees with the file, indexed.ts checks.
import { BundleError, errorMessage } from '../report/errors.ts';
import {
  count,
  dictionary,
  list,
  oneOf,
  optional,
  shape,
  text,
  time,
  truth,
  wrong,
  type Check,
} from './json-shape.ts';
import { manifestVersion, type Manifest, type ManifestDisk } from './manifest.ts';
import { memberName } from './member-name.ts';
import { largestState } from './state-file.ts';

/** Room for the frames of some 16 TiB. */
export const largestManifest = 96 * 1024 * 1024;
/** Bytes of the tar stream in one frame: docs/bundle-format.md. */
const largestFrame = 32 * 1024 * 1024;

const hexDigest: Check = (value, place) => {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) throw wrong(place, 'a SHA-256');
};

const frameFields = [count(), count(2 * largestFrame), count(largestFrame), count(0xffffffff)];
const frame: Check = (value, place) => {
  if (!Array.isArray(value) || value.length !== 4) throw wrong(place, 'a list of four numbers');
  for (const [index, check] of frameFields.entries()) check(value[index], place);
};

/** What oned knew of a disk's image. */
export const imageFactsShape = shape({
  id: count(),
  name: text,
  uname: optional(text),
  type: oneOf('OS', 'CDROM', 'DATABLOCK'),
  persistent: truth,
  datastoreId: count(),
  datastore: optional(text),
  devPrefix: optional(text),
  description: optional(text),
  format: optional(text),
  attributes: optional(dictionary(text)),
});

const manifestShape = shape({
  leftOut: optional(list(count(999_999_999))),
  tool: shape({ name: text, version: text }),
  created: time,
  compression: oneOf('gzip', 'zstd', 'none'),
  vm: shape({
    id: count(),
    name: text,
    state: text,
    hostname: optional(text),
    uuid: optional(text),
    stime: optional(count()),
  }),
  cloud: optional(shape({ name: optional(text), endpoint: optional(text) })),
  consistency: shape({
    level: oneOf('offline', 'agent', 'suspend', 'crash'),
    at: time,
    frozenMs: count(),
  }),
  members: list(shape({ name: text, size: count(), frames: list(frame) })),
  disks: list(
    shape({
      id: count(999_999_999),
      member: text,
      format: oneOf('raw', 'qcow2'),
      virtualSize: count(),
      dataBytes: count(),
      clusterSize: optional(oneOf(...Array.from({ length: 13 }, (_, bit) => 512 * 2 ** bit))),
      sha256: hexDigest,
      image: optional(imageFactsShape),
    }),
  ),
  state: optional(list(shape({ member: oneOf('./nvram', './tpm.tar'), sha256: hexDigest }))),
});

/**
 * The manifest, checked.
 * @throws BundleError that names what is wrong, also for a version that is not known yet
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const value = parseJson(bytes);
  checkVersion(value);
  assertManifest(value);
  checkMembers(value);
  return value;
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

function assertManifest(value: unknown): asserts value is Manifest {
  manifestShape(value, '');
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
