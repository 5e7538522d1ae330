// A huge disk that exists nowhere: many small extents, evenly spread, whose content says where it belongs.
import type { DiskReader } from '../lib/read/disk-reader.ts';
import type { Extent } from '../lib/read/extent.ts';
import { Extents } from '../lib/read/extents.ts';

export interface ManyDisk {
  /** In bytes. */
  readonly virtualSize: number;
  readonly extents: number;
  /** Bytes of each extent, a multiple of 4096. */
  readonly extentSize: number;
}

/** Where the extent with this number begins, in bytes. */
export function startOf({ virtualSize, extents, extentSize }: ManyDisk, index: number): number {
  const slots = Math.floor(virtualSize / extentSize);
  return Math.floor((index * slots) / extents) * extentSize;
}

/** The number of the first extent that begins at `offset` or after it. */
export function indexOf({ virtualSize, extents, extentSize }: ManyDisk, offset: number): number {
  return Math.ceil(
    (Math.ceil(offset / extentSize) * extents) / Math.floor(virtualSize / extentSize),
  );
}

/** Fills `data` with the content of an extent: where it begins, plus 1, in each 8 bytes. */
export function fillWith(disk: ManyDisk, index: number, data: Buffer): void {
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(BigInt(startOf(disk, index) + 1));
  data.fill(word);
}

/** @throws Error when extents would touch */
export function manyReader(disk: ManyDisk): DiskReader {
  const { virtualSize, extents: count, extentSize } = disk;
  if (count * extentSize * 2 > virtualSize) {
    throw new Error(
      `${count} extents of ${extentSize} bytes have no holes between them in ${virtualSize} bytes`,
    );
  }
  const free: Buffer[] = [];
  let all: Extents | undefined;
  return {
    virtualSize,
    extents() {
      if (!all) {
        all = new Extents();
        for (let index = 0; index < count; index++) all.add(startOf(disk, index), extentSize);
      }
      return Promise.resolve(all);
    },
    // eslint-disable-next-line @typescript-eslint/require-await
    async *read(wanted: Iterable<Extent>) {
      for (const { offset, length } of wanted) {
        const index = indexOf(disk, offset);
        if (length !== extentSize || startOf(disk, index) !== offset) {
          throw new Error(`${length} bytes at ${offset} are no extent of this disk`);
        }
        const piece = free.pop() ?? Buffer.allocUnsafeSlow(extentSize);
        fillWith(disk, index, piece);
        yield piece;
      }
    },
    recycle: (piece) => void free.push(piece as Buffer),
    close: () => Promise.resolve(),
  };
}
