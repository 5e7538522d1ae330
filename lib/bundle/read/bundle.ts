// A bundle as restore, show and verify use it, whichever tool wrote it. reader.ts opens one.
import type { About, DiskFormat, Manifest, StateMember } from '../format/manifest.ts';
import type { RegionTable } from './disk-regions.ts';

/** The device and inode of a file, which are the same for all its names. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Where a bundle's bytes come from: a local file, or a file on another machine. */
export interface BundleSource {
  /** The path, for messages. */
  readonly name: string;
  /** Size of the file in bytes. */
  readonly size: number;
  /** When it was last written. */
  readonly modified: Date;
  /** Which file it is; undefined on another machine. */
  readonly identity?: FileIdentity;
  /** Reads `length` bytes from `offset`; fewer only at the end of the file. @throws FailedError, CommandError, ConnectionError */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Bytes of a disk file at their offset; what no piece covers is a hole. */
export interface Piece {
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface PiecesOptions {
  /** Whether the region table is compared with the disk, too. */
  readonly verifyTable?: boolean;
}

export interface BundleDisk {
  /** DISK_ID. */
  readonly id: number;
  /** Name of the member, as in the tar header. */
  readonly member: string;
  /** Size in bytes of the disk file, holes included. For raw this is the virtual size. */
  readonly size: number;
  /** Bytes of all pieces of one pass. */
  readonly dataBytes: number;
  /** From the manifest; undefined in bundles without one, where OpenNebula's FORMAT decides. */
  readonly format: DiskFormat | undefined;
  /** The first bytes of the disk file (up to 64 KiB), holes as zeros. */
  head(): Promise<Buffer>;
  /**
   * All data of the disk file in ascending order, checked against frame CRCs, sizes and (where the
   * manifest has one) the disk's checksum at the end. Can be called again: each call is one pass.
   * A piece has at most 1 MiB, and is valid until the next one is asked for.
   * @throws BundleError that says where the damage is
   */
  pieces(options?: PiecesOptions): AsyncIterable<Piece>;
  /** Its region table; only in a bundle with an index. @throws BundleError */
  table?(): Promise<RegionTable>;
  /** One region as the guest sees it, checked; only in a bundle with an index. @throws BundleError */
  region?(index: number): Promise<Buffer>;
}

/** A member with UEFI variables or the state of a vTPM. */
export interface StateFile {
  readonly member: StateMember;
  /** Bytes. */
  readonly size: number;
  /** Reads all of it, and checks its SHA-256 if the bundle has one. @throws BundleError when it is damaged */
  read(): Promise<Buffer>;
}

export interface Bundle {
  readonly name: string;
  /** When the file was last written; the best guess at the time of an export without manifest. */
  readonly modified: Date;
  /** Undefined for bundles of the older tool. */
  readonly about: About | undefined;
  /** Undefined for bundles of the older tool, and for those that lost their end. */
  readonly manifest: Manifest | undefined;
  /** `vm.xml`, byte for byte. */
  readonly vmXml: Buffer;
  /** UEFI variables and vTPM state. */
  readonly state: readonly StateFile[];
  /** Ascending by id. */
  readonly disks: readonly BundleDisk[];
  /** Where and why the bundle is cut off; only set when it was opened to be salvaged. */
  readonly cut?: string | undefined;
  close(): Promise<void>;
}
