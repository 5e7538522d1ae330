// The last bytes of a bundle: a fixed-size record that decompresses to nothing and says where the
// manifest's frame lies. The layout is documented in docs/bundle-format.md, "The index".
import { crc32 as crcOf } from 'node:zlib';
import type { Compression } from './manifest.ts';
import { isZero } from '../zeros.ts';

/** Where the last frame, which holds the manifest, lies in the file (bytes). */
export interface Trailer {
  readonly compression: Compression;
  readonly offset: number;
  readonly stored: number;
  /** CRC-32 of the frame's part of the tar stream. */
  readonly crc32: number;
}

/** Bytes of the trailer; with `none` one tar block. */
export const trailerSize: Readonly<Record<Compression, number>> = { gzip: 58, zstd: 40, none: 512 };

/** As many bytes as the longest trailer has: from the end of a file, enough for `decodeTrailer`. */
export const longestTrailer = 512;

const magic = Buffer.from('OVMDIDX1', 'latin1');
const payloadSize = 32;

// RFC 1952: magic, deflate, FEXTRA, no time, XFL 0, OS unknown; XLEN 36; subfield "OV" of 32 bytes.
const gzipStart = Buffer.from('1f8b080400000000' + '00ff' + '2400' + '4f56' + '2000', 'hex');
// An empty deflate block, CRC-32 0 and length 0.
const gzipEnd = Buffer.from('0300' + '00000000' + '00000000', 'hex');
// RFC 8878, 3.1.2: a skippable frame, magic number 0x184D2A5E, 32 bytes of data.
const zstdStart = Buffer.from('5e2a4d18' + '20000000', 'hex');

const around: Readonly<Record<Compression, readonly [before: Buffer, after: Buffer]>> = {
  gzip: [gzipStart, gzipEnd],
  zstd: [zstdStart, Buffer.alloc(0)],
  none: [Buffer.alloc(0), Buffer.alloc(trailerSize.none - payloadSize)],
};

/** The trailer's bytes. */
export function encodeTrailer({ compression, offset, stored, crc32 }: Trailer): Buffer {
  const payload = Buffer.alloc(payloadSize);
  magic.copy(payload);
  payload.writeBigUInt64LE(BigInt(offset), 8);
  payload.writeBigUInt64LE(BigInt(stored), 16);
  payload.writeUInt32LE(crc32, 24);
  payload.writeUInt32LE(crcOf(payload.subarray(0, 28)), 28);
  const [before, after] = around[compression];
  return Buffer.concat([before, payload, after]);
}

/**
 * Finds the trailer in some bytes from the end of a file. Zeros may stand behind it.
 * @param tail bytes that hold the whole trailer if there is one
 * @param end where `tail` ends in the file, in bytes
 * @returns undefined when there is none, when it is damaged, or when it does not fit its place (the file was cut, or
 *   put behind another): such a file is read from the front.
 */
export function decodeTrailer(tail: Uint8Array, end: number): Trailer | undefined {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.length);
  const payload = bytes.lastIndexOf(magic);
  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    const start = payload - around[compression][0].length;
    const place = decodePayload(bytes, start, compression);
    if (!place) continue;
    // Compared as bigint: hostile 64-bit values must not be rounded into something that fits.
    const fits =
      place.stored > 0n &&
      place.offset + place.stored === BigInt(end - bytes.length) + BigInt(start) &&
      place.offset + place.stored <= BigInt(Number.MAX_SAFE_INTEGER);
    const [offset, stored] = [Number(place.offset), Number(place.stored)];
    return fits ? { compression, offset, stored, crc32: place.crc32 } : undefined;
  }
  return undefined;
}

/** Whether a block of a tar stream is the trailer of an uncompressed bundle, wherever that says it was. */
export function isTrailerBlock(block: Buffer): boolean {
  return decodePayload(block, 0, 'none') !== undefined;
}

/**
 * Whether `rest`, the last bytes of a file, is a trailer that was cut off or damaged behind its first bytes.
 * @param rest at most as many bytes as the trailer has; it may be shorter than the bytes that are compared
 */
export function beginsLikeTrailer(rest: Buffer, compression: Compression): boolean {
  const [before] = around[compression];
  const expected = compression === 'none' ? magic : before;
  const start = rest.subarray(0, expected.length);
  return start.length > 0 && start.equals(expected.subarray(0, start.length));
}

function decodePayload(bytes: Buffer, start: number, compression: Compression) {
  const [before, after] = around[compression];
  const size = trailerSize[compression];
  if (start < 0 || bytes.length < start + size) return undefined;
  const trailer = bytes.subarray(start, start + size);
  const payload = trailer.subarray(before.length, before.length + payloadSize);
  const whole =
    trailer.subarray(0, before.length).equals(before) &&
    trailer.subarray(before.length + payloadSize).equals(after) &&
    payload.subarray(0, 8).equals(magic) &&
    payload.readUInt32LE(28) === crcOf(payload.subarray(0, 28)) &&
    isZero(bytes.subarray(start + size));
  if (!whole) return undefined;
  return {
    offset: payload.readBigUInt64LE(8),
    stored: payload.readBigUInt64LE(16),
    crc32: payload.readUInt32LE(24),
  };
}
