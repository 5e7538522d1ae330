// The table of a disk, `./regions.disk.<ID>`: where its frames are, the hash of each region, and which bytes of a region are
// stored where. Records have a fixed size, so that any of them is found without reading the others. A table that is not
// trusted is checked record by record. docs/bundle-format.md, "Region tables", specifies it.
import { BundleError } from '../../report/errors.ts';
import { largestFrame } from './manifest.ts';
import { mostRegions, regionCount, regionSizeOf } from './disk-checksum.ts';
import { zeroRegionHash } from './region-hash.ts';

const magic = Buffer.from('OVMDREG1', 'latin1');
export const headerSize = 64;
export const frameRecord = 16;
export const regionRecord = 48;
export const runRecord = 8;
/** Bytes: runs are counted in sectors. */
export const runSector = 512;
export const hashSize = 32;

/** Bytes of the tar stream in each frame of a disk but the last: a power of two, so that small frames do not make many. */
const smallestFrame = 1024 * 1024;
/** The most frames of a disk: 16 TiB of data in frames of 8 MiB, and some for headers. */
export const mostFrames = 2 ** 21 + 1024;
/** The most runs of a disk: one for each extent, and one more for each end of a region within an extent. */
const mostRuns = 10_000_000 + mostRegions;

/** How a region is kept. The numbers are stored. */
export const regionKinds = ['zeros', 'stored', 'parent'] as const;
export type RegionKind = (typeof regionKinds)[number];

/** What the header of a table says. All sizes in bytes. */
export interface TableHeader {
  readonly virtualSize: number;
  /** Bytes of the tar stream in each frame of the disk's member; the last one may have fewer. */
  readonly frameSize: number;
  readonly frames: number;
  readonly runs: number;
  /** Bytes of the tar stream of the member. */
  readonly streamLength: number;
}

/** Where a frame is in the file. */
export interface FramePlace {
  readonly offset: number;
  readonly stored: number;
  readonly crc32: number;
}

/** A region, as its record says. */
export interface RegionFacts {
  readonly hash: Buffer;
  /** Where its first stored byte is in the tar stream of the member, in bytes. */
  readonly position: number;
  readonly firstRun: number;
  readonly runs: number;
  readonly kind: RegionKind;
}

/** Where the parts of a table begin, in bytes. */
export function tableParts({ virtualSize, frames, runs }: TableHeader) {
  const regions = headerSize + frames * frameRecord;
  const firstRun = regions + regionCount(virtualSize) * regionRecord;
  return { frames: headerSize, regions, runs: firstRun, end: firstRun + runs * runRecord };
}

/** The header's bytes. */
export function encodeTableHeader(header: TableHeader): Buffer {
  const { virtualSize, frameSize, frames, runs, streamLength } = header;
  const bytes = Buffer.alloc(headerSize);
  magic.copy(bytes);
  const numbers = [virtualSize, regionSizeOf(virtualSize), frameSize, frames, runs, streamLength];
  for (const [n, number] of numbers.entries()) bytes.writeBigUInt64LE(BigInt(number), 8 + 8 * n);
  return bytes;
}

/**
 * Reads the header of a table.
 * @param size bytes of the whole table
 * @throws BundleError when it is not one, or contradicts itself
 */
export function decodeTableHeader(bytes: Buffer, size: number): TableHeader {
  if (bytes.length < headerSize || !bytes.subarray(0, 8).equals(magic)) {
    throw new BundleError('it is not a region table');
  }
  const [virtualSize, regionSize, frameSize, frames, runs, streamLength, reserved] = Array.from(
    { length: 7 },
    (_, n) => Number(bytes.readBigUInt64LE(8 + 8 * n)),
  ) as [number, number, number, number, number, number, number];
  const sound =
    [virtualSize, regionSize, frameSize, streamLength].every(Number.isSafeInteger) &&
    reserved === 0 &&
    regionSize === regionSizeOf(virtualSize) &&
    frameSize >= smallestFrame &&
    frameSize <= largestFrame &&
    Number.isInteger(Math.log2(frameSize)) &&
    frames <= mostFrames &&
    frames === Math.ceil(streamLength / frameSize) &&
    runs <= mostRuns;
  const header = { virtualSize, frameSize, frames, runs, streamLength };
  if (!sound || tableParts(header).end !== size) {
    throw new BundleError('the header of its region table contradicts itself');
  }
  return header;
}

/** The record of a frame. */
export function encodeFrame({ offset, stored, crc32 }: FramePlace, bytes: Buffer, at: number) {
  bytes.writeBigUInt64LE(BigInt(offset), at);
  bytes.writeUInt32LE(stored, at + 8);
  bytes.writeUInt32LE(crc32, at + 12);
}

export function decodeFrame(bytes: Buffer, at: number): FramePlace {
  return {
    offset: Number(bytes.readBigUInt64LE(at)),
    stored: bytes.readUInt32LE(at + 8),
    crc32: bytes.readUInt32LE(at + 12),
  };
}

/** The record of a region. */
export function encodeRegion(region: RegionFacts, bytes: Buffer, at: number): void {
  region.hash.copy(bytes, at);
  bytes.writeBigUInt64LE(BigInt(region.position), at + hashSize);
  bytes.writeUInt32LE(region.firstRun, at + hashSize + 8);
  bytes.writeUInt32LE(region.runs + regionKinds.indexOf(region.kind) * 2 ** 24, at + hashSize + 12);
}

/** @throws BundleError when it contradicts itself or the header, or is kept in another bundle */
export function decodeRegion(bytes: Buffer, at: number, header: TableHeader): RegionFacts {
  const counted = bytes.readUInt32LE(at + hashSize + 12);
  const kind = regionKinds[counted >>> 24];
  const region = {
    hash: bytes.subarray(at, at + hashSize),
    position: Number(bytes.readBigUInt64LE(at + hashSize)),
    firstRun: bytes.readUInt32LE(at + hashSize + 8),
    runs: counted & 0xffffff,
  };
  const sound =
    kind !== undefined &&
    kind !== 'parent' &&
    (kind === 'stored') === region.runs > 0 &&
    (kind === 'stored' || region.hash.equals(zeroRegionHash)) &&
    region.runs <= regionSizeOf(header.virtualSize) / runSector &&
    region.firstRun + region.runs <= header.runs &&
    region.position <= header.streamLength;
  if (!sound) throw new BundleError('a record of its region table is wrong');
  return { ...region, kind };
}
