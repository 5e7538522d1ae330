// Checks the content of a disk while it is read: computes its checksum, which does not depend on how the disk is stored, and
// looks at the tables of a qcow2 disk, which say where its data belongs.
import type { Extent } from '../../read/extent.ts';
import { BundleError } from '../../report/errors.ts';
import { Qcow2StreamCheck } from '../../qcow2/stream-check.ts';
import { DiskChecksum, regionCount } from '../format/disk-checksum.ts';
import type { AboutDisk } from '../format/manifest.ts';
import { hashSize } from '../format/region-table.ts';
import type { RegionContent } from '../format/region-table-encode.ts';
import type { Piece } from './bundle.ts';

/** What the tar headers say about a disk. */
export interface StoredFile {
  /** Bytes. */
  readonly size: number;
  readonly extents: Iterable<Extent>;
  /** Where its content begins in the tar stream of the member, in bytes. */
  readonly start: number;
}

export class ContentCheck {
  readonly #checksum: DiskChecksum;
  readonly #qcow2: Qcow2StreamCheck | undefined;
  readonly #virtualSize: number;
  readonly #file: StoredFile;
  readonly #hashes: Buffer | undefined;

  /**
   * @param disk how the bundle describes it
   * @param keepHashes whether `content` will be called
   */
  constructor(
    disk: Pick<AboutDisk, 'format' | 'virtualSize' | 'clusterSize'>,
    file: StoredFile,
    keepHashes: boolean,
  ) {
    const { format, virtualSize, clusterSize } = disk;
    const hashes = keepHashes ? Buffer.alloc(regionCount(virtualSize) * hashSize) : undefined;
    this.#hashes = hashes;
    this.#virtualSize = virtualSize;
    this.#file = file;
    this.#checksum = new DiskChecksum(
      virtualSize,
      hashes && ((hash, index) => hash.copy(hashes, index * hashSize)),
    );
    if (format === 'raw') return;
    if (clusterSize === undefined) throw new BundleError('its cluster size is not known');
    this.#qcow2 = new Qcow2StreamCheck(
      { fileSize: file.size, virtualSize, clusterSize },
      (data, offset) => this.#checksum.update(data, offset),
    );
  }

  /** Checks the next piece of the file. @throws BundleError when the tables of a qcow2 disk are damaged */
  update({ offset, data }: Piece): void {
    if (this.#qcow2) this.#qcow2.update(data);
    else this.#checksum.update(data, offset);
  }

  /** The checksum of the disk, hex. To be called once, after the last piece. @throws BundleError as `update` */
  end(): string {
    this.#qcow2?.end();
    return this.#checksum.digest();
  }

  /** What a region table must say. To be called after `end`. */
  content(): RegionContent {
    if (!this.#hashes) throw new Error('the hashes were not kept');
    const { extents, start } = this.#file;
    const qcow2 = this.#qcow2?.stored();
    return {
      virtualSize: this.#virtualSize,
      hashes: this.#hashes,
      extents: qcow2?.extents ?? extents,
      dataStart: start + (qcow2?.dataStart ?? 0),
    };
  }
}
