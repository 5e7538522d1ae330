// Hashes the regions of one disk in the worker threads, while its bytes are in the slots of frames.
import { RegionHashes, regionCount, regionSizeOf } from '../format/disk-checksum.ts';
import { zeroRegionHash } from '../format/region-hash.ts';
import type { FrameSlot } from './frame-slot.ts';
import type { FrameThreads } from './frame-threads.ts';

/** What one thread will be told next. */
interface ThreadPart {
  parts: number[];
  ended: number[];
}

let disks = 0;

export class RegionHashing {
  /** The hashes of all regions, 32 bytes each; complete after `end`. */
  readonly hashes: Buffer;
  readonly #threads: FrameThreads;
  readonly #disk = disks++;
  readonly #virtualSize: number;
  readonly #regionSize: number;
  readonly #next: readonly ThreadPart[];
  /** The region that the last byte was in. */
  #region = -1;

  /** @param virtualSize of the disk, in bytes */
  constructor(threads: FrameThreads, virtualSize: number) {
    this.#threads = threads;
    this.#virtualSize = virtualSize;
    this.#regionSize = regionSizeOf(virtualSize);
    this.hashes = Buffer.alloc(regionCount(virtualSize) * zeroRegionHash.length, zeroRegionHash);
    this.#next = Array.from({ length: threads.size }, () => ({ parts: [], ended: [] }));
  }

  /**
   * Notes that `length` bytes of a slot's content, from `position` on, are those of the disk from `offset` on. Calls must be in
   * ascending order of `offset`. What is beyond the end of the disk is ignored.
   */
  add(position: number, offset: number, length: number): void {
    const end = Math.min(offset + length, this.#virtualSize);
    for (let at = offset; at < end;) {
      const region = Math.floor(at / this.#regionSize);
      const start = region * this.#regionSize;
      const next = Math.min(end, start + this.#regionSize);
      this.#advance(region);
      this.#of(region).parts.push(region, at - start, position + at - offset, next - at);
      at = next;
    }
  }

  /** Hashes what was noted. @returns when the slot's content is no longer needed @throws FailedError */
  async flush(slot: FrameSlot): Promise<void> {
    await Promise.all(
      this.#next.flatMap((next, n) => (next.parts.length > 0 ? [this.#send(n, slot)] : [])),
    );
  }

  /** Ends the last region. @returns the checksum of the disk, hex @throws FailedError */
  async end(): Promise<string> {
    this.#advance(-1);
    await Promise.all(this.#next.map((_, n) => this.#send(n, undefined)));
    const checksum = new RegionHashes(this.#virtualSize);
    checksum.add(this.hashes);
    return checksum.digest();
  }

  #advance(region: number): void {
    if (region === this.#region) return;
    if (this.#region >= 0) this.#of(this.#region).ended.push(this.#region);
    this.#region = region;
  }

  /** All parts of a region go to the same thread, in order. */
  #of(region: number): ThreadPart {
    const next = this.#next[region % this.#next.length];
    if (!next) throw new Error('there are no threads');
    return next;
  }

  async #send(thread: number, slot: FrameSlot | undefined): Promise<void> {
    const next = this.#next[thread];
    if (!next) return;
    const { parts, ended } = next;
    next.parts = [];
    next.ended = [];
    const hashes = await this.#threads.hash(slot, thread, {
      disk: this.#disk,
      virtualSize: this.#virtualSize,
      parts: Uint32Array.from(parts),
      ended: Uint32Array.from(ended),
    });
    for (const [n, region] of ended.entries()) {
      this.hashes.set(hashes.subarray(n * 32, (n + 1) * 32), region * 32);
    }
  }
}
