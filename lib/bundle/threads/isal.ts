// gzip by Intel's ISA-L, the library behind igzip. Its structures are written by offset: they begin with the fields that a
// caller sets, which are the same in all versions of libisal.so.2, and what follows them is the library's own.
// https://github.com/intel/isa-l/blob/v2.30.0/include/igzip_lib.h
import type { ForeignLibrary } from './ffi.ts';
import { FrameDamage, type EncodedFrame, type FrameEncoder } from './frame-engine.ts';
import type { FrameDecoder } from './frame-engine.ts';
import { gzipEndSize, gzipHeaderSize, requireGzipEnd } from './gzip-member.ts';

/** Bytes for `struct isal_zstream` or `struct inflate_state`, which have about 90 KiB. */
const stateSize = 512 * 1024;
const kib = 1024;
/** ISAL_DEF_LVL<n>_LARGE, as igzip itself uses. */
const levelBufferSizes = [0, 276 * kib, 324 * kib, 340 * kib] as const;
const igzipGzip = 1;

export const isalLevels = { lowest: 0, highest: 3 };

/** `crc32_gzip_refl`: the CRC-32 of gzip, seven times as fast as zlib's. */
export function isalCrc32(library: ForeignLibrary): (data: Buffer) => number {
  const crc = library.func('uint32_t crc32_gzip_refl(uint32_t, void *, uint64_t)');
  return (data) => Number(crc(0, data, data.length));
}

/** @throws Error when the library has not all functions */
export function isalEncoder(library: ForeignLibrary, level: number): FrameEncoder {
  const init = library.func('void isal_deflate_stateless_init(void *)');
  const deflate = library.func('int isal_deflate_stateless(void *)');
  const size = levelBufferSizes[level] ?? 0;
  const stream = Buffer.alloc(stateSize);
  const levelBuffer = Buffer.alloc(size);
  const levelAddress = size > 0 ? library.address(levelBuffer) : 0n;
  const compress = (raw: Buffer, stored: Buffer): EncodedFrame => {
    init(stream);
    stream.writeBigUInt64LE(library.address(raw), 0); // next_in
    stream.writeUInt32LE(raw.length, 8); // avail_in
    stream.writeBigUInt64LE(library.address(stored), 16); // next_out
    stream.writeUInt32LE(stored.length, 24); // avail_out
    stream.writeUInt32LE(level, 40);
    stream.writeUInt32LE(size, 44); // level_buf_size
    stream.writeBigUInt64LE(levelAddress, 48); // level_buf
    stream.writeUInt16LE(1, 56); // end_of_stream
    stream.writeUInt16LE(igzipGzip, 60); // gzip_flag
    const status = Number(deflate(stream));
    const length = stream.readUInt32LE(28); // total_out
    // The buffer that it works in must stay referenced until here.
    if (status !== 0 || stream.readUInt32LE(8) !== 0 || levelBuffer.length !== size) {
      throw new Error(`libisal failed to compress (status ${status})`);
    }
    return { stored: length, crc32: stored.readUInt32LE(length - gzipEndSize) };
  };
  return { name: `libisal -${level}`, compress };
}

/** @throws Error when the library has not all functions */
export function isalDecoder(library: ForeignLibrary): FrameDecoder {
  const init = library.func('void isal_inflate_init(void *)');
  const inflate = library.func('int isal_inflate_stateless(void *)');
  const crc32Of = isalCrc32(library);
  const state = Buffer.alloc(stateSize);
  const decompress = (stored: Buffer, raw: Buffer): number => {
    const start = gzipHeaderSize(stored);
    init(state);
    state.writeBigUInt64LE(library.address(raw), 0); // next_out
    state.writeUInt32LE(raw.length, 8); // avail_out
    state.writeBigUInt64LE(library.address(stored) + BigInt(start), 16); // next_in
    state.writeUInt32LE(stored.length - start - gzipEndSize, 32); // avail_in, without the end
    const status = Number(inflate(state));
    const made = state.readUInt32LE(12); // total_out
    const left = state.readUInt32LE(32);
    if (status === 2) throw new FrameDamage('it holds more than it should');
    if (status !== 0) throw new FrameDamage(`its data cannot be decompressed (status ${status})`);
    if (made !== raw.length) throw new FrameDamage('it holds less than it should');
    if (left !== 0) throw new FrameDamage('its data ends too early, or something follows it');
    const crc32 = crc32Of(raw);
    requireGzipEnd(stored, raw.length, crc32);
    return crc32;
  };
  return { name: 'libisal', decompress };
}
