// The two JSON members of a bundle: about.json, near its front, has what is known before the disks are read; manifest.json,
// its last member, has that too, and says where each member is and what its checksum is. The types are inferred from the
// shapes that are used to read them. docs/bundle-format.md documents the format. This is version 1. Fields are never renamed.
import { dictionary, fact, list, object, optional, variants } from '../../run/json-object.ts';
import {
  count,
  made,
  matching,
  oneOf,
  text,
  time,
  truth,
  type Infer,
} from '../../run/json-shape.ts';
import { compressionNames } from '../compression/compressions.ts';

export const manifestVersion = 1;

const diskFormatShape = oneOf('raw', 'qcow2');
/** The format that a disk had on its storage, and that it has in the bundle. */
export type DiskFormat = Infer<typeof diskFormatShape>;

const consistencyLevelShape = oneOf('offline', 'agent', 'suspend', 'crash');
/**
 * How consistent the disks are: `offline` (the VM was not running), `agent` (the guest agent had frozen the file
 * systems), `suspend` (the guest was paused), `crash` (the guest was neither frozen nor paused: the disks are as after a
 * power cut).
 */
export type ConsistencyLevel = Infer<typeof consistencyLevelShape>;

/** How consistent the point in time of a bundle is. */
export const consistencyShape = object({
  level: consistencyLevelShape,
  /** The point in time, ISO 8601, UTC. */
  at: time,
  /** How long the guest was frozen or paused, in milliseconds; 0 for `offline` and `crash`. */
  frozenMs: count(),
});

/**
 * One frame: a complete unit of the bundle's compression (with `none`, the bytes themselves).
 * `[offset in the file, stored bytes, bytes of the tar stream, CRC-32 of those]`.
 */
export type Frame = readonly [offset: number, stored: number, length: number, crc32: number];

/** Bytes of the tar stream in one frame: docs/bundle-format.md. */
export const largestFrame = 32 * 1024 * 1024;
/** Bytes of one frame in the file: no compression makes that much of the largest one. */
export const largestStored = 2 * largestFrame;

/** Frames in order: an array, or the table in which a reader keeps them. */
export interface FrameList extends Iterable<Frame> {
  readonly length: number;
  at(index: number): Frame | undefined;
}

/** The most disks of a bundle: more than QEMU can attach to a machine. Readers refuse more. */
export const mostDisks = 512;

/** The most frames of a member that is not a disk. */
const mostMemberFrames = 4096;

/** The most members of a bundle. */
export const mostMembers = 3 * mostDisks;

/** OpenNebula numbers disks from 0; nine digits fit into an ordinary integer. */
const diskId = count(999_999_999);
const sha256 = matching(/^[0-9a-f]{64}$/, 'a SHA-256');

/** What oned said about the image of the disk; absent for volatile disks, or if oned was not asked. */
export const imageFactsShape = object({
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
  /** Other attributes of the image's TEMPLATE, single values only. */
  attributes: fact(dictionary(text)),
});
export type ImageFacts = Infer<typeof imageFactsShape>;

/** Bytes: all cluster sizes of qcow2. */
const clusterSize = oneOf(...Array.from({ length: 13 }, (_, bit) => 512 * 2 ** bit));

/** The form of a disk in a bundle. */
export const diskLayoutShape = variants('format', {
  raw: object({}),
  /** With the cluster size of its source. */
  qcow2: object({ clusterSize }),
});
export type DiskLayout = Infer<typeof diskLayoutShape>;

const aboutDisk = {
  /** DISK_ID. */
  id: diskId,
  /** The name of its member. */
  member: text,
  format: diskFormatShape,
  /** Size in bytes as the guest sees it. */
  virtualSize: count(),
  /** qcow2 only, bytes. */
  clusterSize: optional(clusterSize),
  image: fact(imageFactsShape),
};
const aboutDiskShape = object(aboutDisk);
/** What is known about a disk before it is read. */
export type AboutDisk = Infer<typeof aboutDiskShape>;

const diskShape = object({
  ...aboutDisk,
  /** Bytes of data read from the storage. */
  dataBytes: count(),
  /** Of its content (disk-checksum.ts), hex. */
  checksum: sha256,
});
export type ManifestDisk = Infer<typeof diskShape>;

/** A member with state that a VM has besides its disks: its UEFI variables, or a tar archive of its vTPM's state. */
export type StateMember = './nvram' | './tpm.tar';

/** The most bytes of such a member. The flash of an aarch64 machine has 64 MiB; a vTPM's state has some ten KiB. */
export const largestState: Readonly<Record<StateMember, number>> = {
  './nvram': 64 * 1024 * 1024,
  './tpm.tar': 8 * 1024 * 1024,
};

export function isStateMember(name: string): name is StateMember {
  return Object.hasOwn(largestState, name);
}

/** What every version of the two members has. */
export const versionShape = object({
  format: oneOf('onevmdump'),
  version: count(),
  /** What a reader must understand besides this version. This one knows no such word. */
  requires: optional(list(text, 64)),
});

const about = {
  format: oneOf('onevmdump'),
  version: count(),
  /** The bundle's own id: a UUID. */
  id: matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID'),
  tool: object({ name: text, version: text }),
  created: time,
  vm: object({
    id: count(),
    name: text,
    /** As in OpenNebula's CLI, in capitals: POWEROFF. */
    state: text,
    hostname: fact(text),
    /** OS/UUID, which oned gives every VM that has none. */
    uuid: fact(text),
    /** STIME: when the VM was made, in epoch seconds. */
    stime: fact(count()),
  }),
  /** The OpenNebula of the VM, as far as it is known: its configured name, and the endpoint that was asked. */
  cloud: fact(object({ name: fact(text), endpoint: fact(text) })),
  consistency: consistencyShape,
  /** DISK_IDs of the VM's disks that were not requested (`export --disk`); absent if all of them were. */
  leftOut: optional(list(diskId, 2 * mostDisks)),
  /** Names of members that a reader may skip if it does not know them. */
  optional: optional(list(matching(/^\.\/[a-z0-9][a-z0-9._-]{0,79}$/, 'a name'), mostMembers)),
};

export const aboutShape = object({ ...about, disks: list(aboutDiskShape, mostDisks) });
export type About = Infer<typeof aboutShape>;

const frameShape = made('a frame', (value): Frame | undefined => {
  if (!Array.isArray(value) || value.length !== 4) return undefined;
  const most = [Number.MAX_SAFE_INTEGER, largestStored, largestFrame, 0xffffffff];
  const sound = value.every(
    (number, n) => Number.isSafeInteger(number) && number >= 0 && number <= (most[n] ?? 0),
  );
  return sound ? (value as unknown as Frame) : undefined;
});

const memberShape = object({
  /** As in the tar header: `./vm.xml`, `./backup.disk.0`. */
  name: text,
  /** Size in bytes of the file once extracted (for a sparse member: with its holes). */
  size: count(),
  /** Where its first frame begins in the file. */
  offset: count(),
  /** Bytes of all its frames in the file. */
  stored: count(),
  /** All but those of disks, which are in their region tables. */
  frames: optional(list(frameShape, mostMemberFrames)),
  /** Of the file once extracted, hex; all but disks, which have a checksum of their own. */
  sha256: optional(sha256),
});
/** A tar member; it begins at the first byte of its first frame. */
export type ManifestMember = Infer<typeof memberShape>;

export const manifestShape = object({
  ...about,
  compression: oneOf(...compressionNames),
  members: list(memberShape, mostMembers),
  disks: list(diskShape, mostDisks),
});
export type Manifest = Infer<typeof manifestShape>;
