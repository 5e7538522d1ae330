// The checksum of a whole disk: a hash of the hashes of its regions. docs/bundle-format.md, "Region hashes", specifies it.
import { createHash, type Hash } from 'node:crypto';
import { RegionHasher, zeroRegionHash } from './region-hash.ts';

const smallestRegion = 2 ** 20;
/** The most regions of a disk. */
export const mostRegions = 2 ** 20;

/** Bytes of a region, from the size of the disk: 1 MiB, or as much as makes at most `mostRegions`. */
export function regionSizeOf(virtualSize: number): number {
  let size = smallestRegion;
  while (virtualSize > size * mostRegions) size *= 2;
  return size;
}

/** How many regions a disk has. */
export function regionCount(virtualSize: number): number {
  return Math.ceil(virtualSize / regionSizeOf(virtualSize));
}

/** Combines the hashes of all regions of a disk. */
export class RegionHashes {
  readonly #hash: Hash = createHash('sha256');

  constructor(virtualSize: number) {
    const sizes = Buffer.alloc(16);
    sizes.writeBigUInt64LE(BigInt(virtualSize), 0);
    sizes.writeBigUInt64LE(BigInt(regionSizeOf(virtualSize)), 8);
    this.#hash.update(sizes);
  }

  /** Adds the hash of the next region, or those of several. */
  add(hashes: Uint8Array): void {
    this.#hash.update(hashes);
  }

  /** The checksum, hex. To be called once. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}

/** Computes the checksum of a disk from its content. What is not given is zeros. */
export class DiskChecksum {
  readonly #virtualSize: number;
  readonly #regionSize: number;
  readonly #onRegion: (hash: Buffer, index: number) => void;
  readonly #hashes: RegionHashes;
  #region: RegionHasher | undefined;
  /** The number of the region that comes next, or is under way. */
  #index = 0;

  /** @param virtualSize bytes @param onRegion gets the hash of each region, in order */
  constructor(virtualSize: number, onRegion?: (hash: Buffer, index: number) => void) {
    this.#virtualSize = virtualSize;
    this.#regionSize = regionSizeOf(virtualSize);
    this.#onRegion = onRegion ?? (() => undefined);
    this.#hashes = new RegionHashes(virtualSize);
  }

  /** Adds bytes at their place on the disk, in ascending order. What is beyond the end of the disk is ignored. */
  update(data: Uint8Array, offset: number): void {
    const end = Math.min(offset + data.length, this.#virtualSize);
    for (let at = offset; at < end;) {
      const index = Math.floor(at / this.#regionSize);
      this.#advance(index);
      const start = index * this.#regionSize;
      const next = Math.min(start + this.#regionSize, end);
      const length = Math.min(this.#regionSize, this.#virtualSize - start);
      this.#region ??= new RegionHasher(length);
      this.#region.update(data.subarray(at - offset, next - offset), at - start);
      at = next;
    }
  }

  /** The checksum, hex. To be called once. */
  digest(): string {
    this.#advance(Math.ceil(this.#virtualSize / this.#regionSize));
    return this.#hashes.digest();
  }

  /** Ends the regions before `index`. */
  #advance(index: number): void {
    for (; this.#index < index; this.#index++) {
      const hash = this.#region?.digest() ?? zeroRegionHash;
      this.#region = undefined;
      this.#hashes.add(hash);
      this.#onRegion(hash, this.#index);
    }
  }
}
