// The last bytes of a bundle: a record of fixed size that decompresses to nothing and says where the
// manifest's frame is. The layout is documented in docs/bundle-format.md, "The index".
import { crc32 as crcOf } from 'node:zlib';
import { compressionNames, compressions, type Compression } from '../compression/compressions.ts';
import { isZero } from '../zeros.ts';

/** Where the last frame, which holds the manifest, is in the file (bytes). */
export interface Trailer {
  readonly compression: Compression;
  readonly offset: number;
  readonly stored: number;
  /** CRC-32 of the frame's part of the tar stream. */
  readonly crc32: number;
  /** SHA-256 of manifest.json. */
  readonly sha256: Buffer;
}

const magic = Buffer.from('OVMDIDX1', 'latin1');
const recordSize = 64;
/** What the last four bytes are the CRC-32 of. */
const crcAt = recordSize - 4;

/** Bytes of the trailer; with `none` one tar block. */
export function trailerSize(compression: Compression): number {
  const { before, after } = compressions[compression].trailer;
  return before.length + recordSize + after.length;
}

/** Bytes of the longest trailer. `decodeTrailer` needs this many bytes from the end of a file. */
export const longestTrailer = Math.max(...compressionNames.map(trailerSize));

/** The trailer's bytes. */
export function encodeTrailer({ compression, offset, stored, crc32, sha256 }: Trailer): Buffer {
  const record = Buffer.alloc(recordSize);
  magic.copy(record);
  record.writeBigUInt64LE(BigInt(offset), 8);
  record.writeBigUInt64LE(BigInt(stored), 16);
  record.writeUInt32LE(crc32, 24);
  sha256.copy(record, 28);
  record.writeUInt32LE(crcOf(record.subarray(0, crcAt)), crcAt);
  const { before, after } = compressions[compression].trailer;
  return Buffer.concat([before, record, after]);
}

/**
 * Finds the trailer in the last bytes of a file. Zeros may follow it.
 * @param tail bytes that hold the whole trailer if there is one
 * @param end where `tail` ends in the file, in bytes
 * @returns undefined when there is none, when it is damaged, or when it does not fit its place (the file was cut, or
 *   appended to another): such a file is read from the front.
 */
export function decodeTrailer(tail: Uint8Array, end: number): Trailer | undefined {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.length);
  const record = bytes.lastIndexOf(magic);
  for (const compression of compressionNames) {
    const start = record - compressions[compression].trailer.before.length;
    const place = decodeRecord(bytes, start, compression);
    if (!place) continue;
    // Compared as bigint, because hostile 64-bit values must not be rounded to a value that fits.
    const fits =
      place.stored > 0n &&
      place.offset + place.stored === BigInt(end - bytes.length) + BigInt(start) &&
      place.offset + place.stored <= BigInt(Number.MAX_SAFE_INTEGER);
    const [offset, stored] = [Number(place.offset), Number(place.stored)];
    return fits ? { ...place, compression, offset, stored } : undefined;
  }
  return undefined;
}

/** Whether a block of a tar stream is the trailer of an uncompressed bundle, whatever position the trailer gives. */
export function isTrailerBlock(block: Buffer): boolean {
  return decodeRecord(block, 0, 'none') !== undefined;
}

/**
 * Whether `rest`, the last bytes of a file, is a trailer that was cut off or damaged after its first bytes.
 * @param rest at most as many bytes as the trailer has; it may be shorter than the bytes that are compared
 */
export function beginsLikeTrailer(rest: Buffer, compression: Compression): boolean {
  const { before } = compressions[compression].trailer;
  const expected = before.length === 0 ? magic : before;
  const start = rest.subarray(0, expected.length);
  return start.length > 0 && start.equals(expected.subarray(0, start.length));
}

function decodeRecord(bytes: Buffer, start: number, compression: Compression) {
  const { before, after } = compressions[compression].trailer;
  const size = trailerSize(compression);
  if (start < 0 || bytes.length < start + size) return undefined;
  const trailer = bytes.subarray(start, start + size);
  const record = trailer.subarray(before.length, before.length + recordSize);
  const whole =
    trailer.subarray(0, before.length).equals(before) &&
    trailer.subarray(before.length + recordSize).equals(after) &&
    record.subarray(0, 8).equals(magic) &&
    record.readUInt32LE(crcAt) === crcOf(record.subarray(0, crcAt)) &&
    isZero(bytes.subarray(start + size));
  if (!whole) return undefined;
  return {
    offset: record.readBigUInt64LE(8),
    stored: record.readBigUInt64LE(16),
    crc32: record.readUInt32LE(24),
    sha256: Buffer.from(record.subarray(28, crcAt)),
  };
}
