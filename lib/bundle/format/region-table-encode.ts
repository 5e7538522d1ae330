// Makes the region table of a disk, in pieces, from its extents and the hashes of its regions.
import type { Extent } from '../../read/extent.ts';
import { BundleError } from '../../report/errors.ts';
import { regionCount, regionSizeOf } from './disk-checksum.ts';
import type { FrameList } from './manifest.ts';
import {
  encodeFrame,
  encodeRegion,
  encodeTableHeader,
  frameRecord,
  hashSize,
  regionRecord,
  runRecord,
  runSector,
  tableParts,
} from './region-table.ts';

/** Records in one piece. */
const atOnce = 4096;

/** What is stored of a disk, and what it contains. */
export interface RegionContent {
  readonly virtualSize: number;
  /** What is stored of the disk, in order. */
  readonly extents: Iterable<Extent>;
  /** The hashes of all regions, 32 bytes each. */
  readonly hashes: Buffer;
  /** Where the data begins in the tar stream of the member, in bytes. */
  readonly dataStart: number;
}

export interface WrittenRegions extends RegionContent {
  /** The frames of the disk's member. */
  readonly frames: FrameList;
  /** Bytes of the tar stream in each of them but the last. */
  readonly frameSize: number;
  /** Bytes of the tar stream of the member. */
  readonly streamLength: number;
}

/** The table: its size in bytes, and its content in pieces. */
export function regionTable(written: WrittenRegions): {
  readonly size: number;
  readonly pieces: () => Generator<Buffer>;
} {
  const { virtualSize, frameSize, streamLength, extents, frames } = written;
  const runs = countOf(runsOf(extents, virtualSize));
  const header = { virtualSize, frameSize, frames: frames.length, runs, streamLength };
  return {
    size: tableParts(header).end,
    *pieces() {
      yield encodeTableHeader(header);
      yield* inPieces(frameRecord, frames, ([offset, stored, , crc32], bytes, at) =>
        encodeFrame({ offset, stored, crc32 }, bytes, at),
      );
      yield* regionRecords(written);
    },
  };
}

/** The records of regions and runs, in pieces. */
export function* regionRecords(content: RegionContent): Generator<Buffer> {
  const { virtualSize, extents, dataStart } = content;
  yield* inPieces(regionRecord, regionsOf(content), (region, bytes, at) =>
    encodeRegion({ ...region, position: dataStart + region.position }, bytes, at),
  );
  yield* inPieces(runRecord, runsOf(extents, virtualSize), ({ start, length }, bytes, at) => {
    bytes.writeUInt32LE(start / runSector, at);
    bytes.writeUInt32LE(Math.ceil(length / runSector), at + 4);
  });
}

/** A part of an extent that is within one region. */
interface Run {
  readonly region: number;
  /** Bytes from the start of the region. */
  readonly start: number;
  readonly length: number;
}

function* runsOf(extents: Iterable<Extent>, virtualSize: number): Generator<Run> {
  const regionSize = regionSizeOf(virtualSize);
  for (const { offset, length } of extents) {
    const end = offset + length;
    if (offset % runSector !== 0 || (length % runSector !== 0 && end !== virtualSize)) {
      throw new BundleError('its data is not stored in whole sectors');
    }
    for (let at = offset; at < end;) {
      const region = Math.floor(at / regionSize);
      const start = at - region * regionSize;
      const next = Math.min(end, (region + 1) * regionSize);
      yield { region, start, length: next - at };
      at = next;
    }
  }
}

function* regionsOf({ extents, virtualSize, hashes }: RegionContent) {
  const count = regionCount(virtualSize);
  const runs = runsOf(extents, virtualSize);
  let next = runs.next();
  let firstRun = 0;
  let position = 0;
  for (let region = 0; region < count; region++) {
    const first = { position, firstRun };
    while (next.done !== true && next.value.region === region) {
      position += next.value.length;
      firstRun += 1;
      next = runs.next();
    }
    const counted = firstRun - first.firstRun;
    yield {
      ...first,
      hash: hashes.subarray(region * hashSize, (region + 1) * hashSize),
      runs: counted,
      kind: counted === 0 ? ('zeros' as const) : ('stored' as const),
    };
  }
}

function countOf(items: Generator): number {
  let count = 0;
  while (items.next().done !== true) count += 1;
  return count;
}

/** Encodes records of a fixed size, many at once. */
function* inPieces<T>(
  size: number,
  records: Iterable<T>,
  encode: (record: T, bytes: Buffer, at: number) => void,
): Generator<Buffer> {
  let bytes = Buffer.alloc(size * atOnce);
  let used = 0;
  for (const record of records) {
    encode(record, bytes, used);
    used += size;
    if (used < bytes.length) continue;
    yield bytes;
    bytes = Buffer.alloc(size * atOnce);
    used = 0;
  }
  if (used > 0) yield bytes.subarray(0, used);
}
