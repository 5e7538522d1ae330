// What restore, show and verify see of a bundle, however it was made. reader.ts opens one.
import type { DiskFormat, Manifest, StateMember } from '../format/manifest.ts';

/** What all names of one file have in common, hard links included. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Where a bundle's bytes come from: a local file, or a file on another machine. */
export interface BundleSource {
  /** Printable: the path. */
  readonly name: string;
  /** Bytes of the whole file. */
  readonly size: number;
  /** When it was last written. */
  readonly modified: Date;
  /** Which file it is; undefined on another machine. */
  readonly identity?: FileIdentity;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Bytes of a disk file at their place; what no piece covers is a hole. */
export interface Piece {
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface BundleDisk {
  /** DISK_ID. */
  readonly id: number;
  /** Name of the member, as in the tar header. */
  readonly member: string;
  /** Size in bytes of the disk file, holes included. For raw this is the virtual size. */
  readonly size: number;
  /** Bytes the pieces of one pass add up to. */
  readonly dataBytes: number;
  /** From the manifest; undefined in bundles without one, where OpenNebula's FORMAT decides. */
  readonly format: DiskFormat | undefined;
  /** The first bytes of the disk file (up to 64 KiB), holes as zeros. */
  head(): Promise<Buffer>;
  /**
   * All data of the disk file in ascending order, checked against frame CRCs, sizes and (where the
   * manifest has one) the disk's SHA-256 at the end. Can be called again: each call is one pass.
   * A piece has at most 1 MiB and may be kept. @throws BundleError naming the place of the damage.
   */
  pieces(): AsyncIterable<Piece>;
}

/** A member that holds what the VM kept beside its disks. */
export interface StateFile {
  readonly member: StateMember;
  /** Bytes. */
  readonly size: number;
  /** All of it, checked against its SHA-256 where the bundle has one. @throws BundleError when it is damaged */
  read(): Promise<Buffer>;
}

export interface Bundle {
  readonly name: string;
  /** When the file was last written; the best guess at the time of an export without manifest. */
  readonly modified: Date;
  /** Undefined for bundles of the older tool. */
  readonly manifest: Manifest | undefined;
  /** `vm.xml`, byte for byte. */
  readonly vmXml: Buffer;
  /** What the VM kept beside its disks. */
  readonly state: readonly StateFile[];
  /** Ascending by id. */
  readonly disks: readonly BundleDisk[];
  /** Where and why the bundle ends before its end; only in one that was opened to be salvaged. */
  readonly cut?: string | undefined;
  close(): Promise<void>;
}
