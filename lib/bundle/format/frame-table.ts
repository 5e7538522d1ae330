// The frames of a member, as a reader or a writer keeps them. A disk of 16 TiB has two million frames, so they are stored as numbers
// in typed arrays, 20 bytes each; JavaScript objects would take about 100 bytes each.
import type { Frame, FrameList } from './manifest.ts';

/** Small, since most members have few frames. */
const blockLength = 512;

interface Block {
  readonly offsets: Float64Array;
  /** Stored bytes, bytes of the tar stream and CRC-32 of each frame. */
  readonly rest: Uint32Array;
}

export class FrameTable implements FrameList {
  #length = 0;
  readonly #blocks: Block[] = [];

  get length(): number {
    return this.#length;
  }

  /** Appends a frame. All its numbers except the offset are below 2^32. */
  push([offset, stored, length, crc32]: Frame): void {
    const index = this.#length % blockLength;
    const last = index === 0 ? undefined : this.#blocks.at(-1);
    const block = last ?? {
      offsets: new Float64Array(blockLength),
      rest: new Uint32Array(3 * blockLength),
    };
    if (!last) this.#blocks.push(block);
    block.offsets[index] = offset;
    block.rest.set([stored, length, crc32], 3 * index);
    this.#length += 1;
  }

  at(index: number): Frame | undefined {
    const place = index < 0 ? this.#length + index : index;
    const block = this.#blocks[Math.floor(place / blockLength)];
    if (!block || place < 0 || place >= this.#length) return undefined;
    const n = place % blockLength;
    const [stored = 0, length = 0, crc32 = 0] = block.rest.subarray(3 * n, 3 * n + 3);
    return [block.offsets[n] ?? 0, stored, length, crc32];
  }

  *[Symbol.iterator](): Generator<Frame> {
    for (let index = 0; index < this.#length; index++) {
      const frame = this.at(index);
      if (frame) yield frame;
    }
  }
}

/** Up to `length` frames of `list`, from number `first` on. */
export function framesFrom(list: FrameList, first: number, length = list.length): FrameList {
  const count = Math.max(0, Math.min(length, list.length - first));
  const at = (index: number): Frame | undefined => {
    const place = index < 0 ? count + index : index;
    return place >= 0 && place < count ? list.at(first + place) : undefined;
  };
  return {
    length: count,
    at,
    *[Symbol.iterator]() {
      for (let index = 0; index < count; index++) {
        const frame = at(index);
        if (frame) yield frame;
      }
    },
  };
}
