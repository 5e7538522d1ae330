// The last member of a bundle, manifest.json: it says what the bundle holds, and where each byte of it is. The types are
// inferred from the shapes that are used to read it. docs/bundle-format.md documents the format. This is version 1.
// Fields are never renamed.
import { dictionary, fact, list, object, optional, variants } from '../../run/json-object.ts';
import {
  count,
  matching,
  oneOf,
  text,
  time,
  truth,
  type Infer,
  type Shape,
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

/** Frames in order: an array, or the table in which a reader keeps them. */
export interface FrameList extends Iterable<Frame> {
  readonly length: number;
  at(index: number): Frame | undefined;
}

/** The most disks of a bundle: more than QEMU can attach to a machine. Readers refuse more. */
export const mostDisks = 512;

/** The most members of a bundle. */
export const mostMembers = 2 * mostDisks;

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

const diskShape = object({
  /** DISK_ID. */
  id: diskId,
  /** The name of its member. */
  member: text,
  format: diskFormatShape,
  /** Size in bytes as the guest sees it. */
  virtualSize: count(),
  /** Bytes of data read from the storage. */
  dataBytes: count(),
  /** qcow2 only, bytes. */
  clusterSize: optional(clusterSize),
  /** SHA-256 (hex) of the member's data: the extents of a raw disk one after another, the whole file of a qcow2 disk. */
  sha256,
  image: fact(imageFactsShape),
});
export type ManifestDisk = Infer<typeof diskShape>;

const stateShape = object({ member: oneOf('./nvram', './tpm.tar'), sha256 });
/** A member with state that a VM has besides its disks: its UEFI variables, or a tar archive of its vTPM's state. */
export type ManifestState = Infer<typeof stateShape>;
export type StateMember = ManifestState['member'];

/** The most bytes of such a member. The flash of an aarch64 machine has 64 MiB; a vTPM's state has some ten KiB. */
export const largestState: Readonly<Record<StateMember, number>> = {
  './nvram': 64 * 1024 * 1024,
  './tpm.tar': 8 * 1024 * 1024,
};

/** What every version of the manifest has. */
export const versionShape = object({ format: oneOf('onevmdump'), version: count() });

/** @param frames the shape of a member's frames while the manifest is read: see manifest-parse.ts */
export const manifestShape = (frames: Shape<FrameList>) =>
  object({
    format: oneOf('onevmdump'),
    version: count(),
    tool: object({ name: text, version: text }),
    created: time,
    compression: oneOf(...compressionNames),
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
    /** The tar members, each beginning at the first byte of its first frame. */
    members: list(
      object({
        /** As in the tar header: `./vm.xml`, `./backup.disk.0`. */
        name: text,
        /** Size in bytes of the file once extracted (for a sparse member: with its holes). */
        size: count(),
        frames,
      }),
      mostMembers,
    ),
    disks: list(diskShape, mostDisks),
    /** Absent if the VM has none. */
    state: optional(list(stateShape, mostMembers)),
    /** DISK_IDs of the VM's disks that were not requested (`export --disk`); absent if all of them were. */
    leftOut: optional(list(diskId, 2 * mostDisks)),
  });
export type Manifest = Infer<ReturnType<typeof manifestShape>>;
