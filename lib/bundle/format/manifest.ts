// The last member of a bundle, manifest.json: what the bundle holds and where each byte of it lies.
// The format is documented in docs/bundle-format.md; version 1. Its fields are never renamed.

export const manifestVersion = 1;

export type Compression = 'gzip' | 'zstd' | 'none';

/** The format a disk had on its storage, and has in the bundle. */
export type DiskFormat = 'raw' | 'qcow2';

/**
 * How the point in time was fixed: `offline` (the VM was not running), `agent` (file systems frozen by the
 * guest agent), `suspend` (the guest was paused), `crash` (nothing was quiesced: the disks are as
 * after a power cut).
 */
export type ConsistencyLevel = 'offline' | 'agent' | 'suspend' | 'crash';

/**
 * One frame: a complete gzip member or zstd frame (with compression `none` the bytes themselves).
 * `[offset in the file, stored bytes, bytes of the tar stream, CRC-32 of those]`.
 */
export type Frame = readonly [offset: number, stored: number, length: number, crc32: number];

/** Frames in order: an array, or the table that a reader keeps them in. */
export interface FrameList extends Iterable<Frame> {
  readonly length: number;
  at(index: number): Frame | undefined;
}

/** Disks of one bundle: more than QEMU can attach to a machine. Readers refuse more. */
export const mostDisks = 512;

/** Members of one bundle. */
export const mostMembers = 2 * mostDisks;

/** A tar member. It begins at the first byte of its first frame. */
export interface ManifestMember {
  /** As in the tar header: `./vm.xml`, `./backup.disk.0`. */
  readonly name: string;
  /** Size in bytes of the file once extracted (for a sparse member: with its holes). */
  readonly size: number;
  readonly frames: FrameList;
}

/** What oned knew of the image a disk came from; absent for volatile disks or without oned. */
export interface ImageFacts {
  readonly id: number;
  readonly name: string;
  readonly uname?: string;
  readonly type: 'OS' | 'CDROM' | 'DATABLOCK';
  readonly persistent: boolean;
  readonly datastoreId: number;
  readonly datastore?: string;
  readonly devPrefix?: string;
  readonly description?: string;
  readonly format?: string;
  /** Other attributes of the image's TEMPLATE, single values only. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface ManifestDisk {
  /** DISK_ID. */
  readonly id: number;
  /** The name of its member. */
  readonly member: string;
  readonly format: DiskFormat;
  /** Size in bytes as the guest sees it. */
  readonly virtualSize: number;
  /** Bytes of data read from the storage. */
  readonly dataBytes: number;
  /** qcow2 only, bytes. */
  readonly clusterSize?: number;
  /** SHA-256 (hex) of the member's data: the extents of a raw disk one after another, the whole file of a qcow2 disk. */
  readonly sha256: string;
  readonly image?: ImageFacts;
}

/** Members that hold what a VM keeps beside its disks: its UEFI variables, and a tar archive of its vTPM's state. */
export type StateMember = './nvram' | './tpm.tar';

/** Bytes that a member may have. The flash of an aarch64 machine has 64 MiB; a vTPM's state some ten KiB. */
export const largestState: Readonly<Record<StateMember, number>> = {
  './nvram': 64 * 1024 * 1024,
  './tpm.tar': 8 * 1024 * 1024,
};

export interface ManifestState {
  readonly member: StateMember;
  /** SHA-256 (hex) of the member's content. */
  readonly sha256: string;
}

export interface Manifest {
  readonly format: 'onevmdump';
  readonly version: number;
  readonly tool: { readonly name: string; readonly version: string };
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly compression: Compression;
  readonly vm: {
    readonly id: number;
    readonly name: string;
    /** As in OpenNebula's CLI, in capitals: POWEROFF. */
    readonly state: string;
    readonly hostname?: string;
    /** OS/UUID, which oned gives every VM that has none. */
    readonly uuid?: string;
    /** STIME: when the VM was made, in epoch seconds. */
    readonly stime?: number;
  };
  /** The OpenNebula the VM is of, as far as it is known: as configured, and as it was asked. */
  readonly cloud?: { readonly name?: string; readonly endpoint?: string };
  readonly consistency: {
    readonly level: ConsistencyLevel;
    /** The point in time, ISO 8601, UTC. */
    readonly at: string;
    /** How long the guest was frozen or paused, in milliseconds; 0 for `offline` and `crash`. */
    readonly frozenMs: number;
  };
  readonly members: readonly ManifestMember[];
  readonly disks: readonly ManifestDisk[];
  /** Absent where the VM has none. */
  readonly state?: readonly ManifestState[];
  /** DISK_IDs of the VM's disks that were not asked for (`export --disk`); absent when all were. */
  readonly leftOut?: readonly number[];
}
