// The contract between storage and bundle: a disk at a fixed point in time, read-only.
import type { Extent } from './extent.ts';
import type { Extents } from './extents.ts';

/** A disk at one point in time. A reader serves one pass, and is closed by whoever opened it. */
export interface DiskReader {
  /** Size in bytes as the guest sees it; need not be a multiple of 512. */
  readonly virtualSize: number;

  /**
   * The extents that hold data, all within `virtualSize`. Everything between them reads as zeros. Must be called before
   * the first read.
   */
  extents(): Promise<Extents>;

  /**
   * The bytes of `extents` (sorted and within the disk, but not necessarily those of `extents()`),
   * in order. A piece never spans two extents and has at most 1 MiB; the consumer may keep a piece.
   * Requests are pipelined. MUST throw when a byte cannot be read: a short read, an I/O error or a lost
   * connection never ends the iteration silently.
   */
  read(extents: Iterable<Extent>): AsyncIterable<Uint8Array>;

  /**
   * Gives back a piece of `read` that is no longer needed, at most once: a later piece may use its memory.
   * Calling it is optional, and saves much garbage when large disks are read.
   */
  recycle?(piece: Uint8Array): void;

  /** Ends the connection. May be called at any time and more than once. */
  close(): Promise<void>;
}
