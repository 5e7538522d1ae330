// gzip by Node's own zlib: it is always there.
import { crc32, gzipSync, inflateRawSync } from 'node:zlib';
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';
import { gzipEndSize, gzipHeaderSize, requireGzipEnd } from './gzip-member.ts';
import { isZlibError } from './zlib-error.ts';

export const nodeGzipLevels = { lowest: 1, highest: 9 };

export function nodeGzipEncoder(level: number): FrameEncoder {
  return {
    name: `zlib -${level}`,
    compress(raw, stored) {
      const frame = gzipSync(raw, { level, chunkSize: 256 * 1024 });
      if (frame.copy(stored) < frame.length)
        throw new Error('zlib made more than the frame can be');
      return { stored: frame.length, crc32: frame.readUInt32LE(frame.length - gzipEndSize) };
    },
  };
}

export const nodeGzipDecoder: FrameDecoder = {
  name: 'zlib',
  decompress(stored, raw) {
    const start = gzipHeaderSize(stored);
    const deflated = stored.subarray(start, stored.length - gzipEndSize);
    const { buffer, used } = inflate(deflated, raw.length);
    if (buffer.length !== raw.length) throw new FrameDamage('it holds less than it should');
    if (used !== deflated.length) throw new FrameDamage('something follows its data');
    buffer.copy(raw);
    const crc = crc32(raw);
    requireGzipEnd(stored, raw.length, crc);
    return crc;
  },
};

function inflate(deflated: Buffer, length: number): { buffer: Buffer; used: number } {
  try {
    // One more byte, because zlib asks for another chunk when one is full.
    const options = {
      chunkSize: Math.max(64, length + 1),
      maxOutputLength: Math.max(1, length),
      info: true,
    };
    const result = inflateRawSync(deflated, options) as unknown as InflateInfo;
    return { buffer: result.buffer, used: result.engine.bytesWritten };
  } catch (error) {
    if (!isZlibError(error)) throw error;
    throw new FrameDamage(`its data cannot be decompressed: ${error.message}`, { cause: error });
  }
}

/** What `info: true` adds, which the types do not know */
interface InflateInfo {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}
