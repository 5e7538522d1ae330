// zstd by Node.js, which has it from 22.15 on.
import * as zlib from 'node:zlib';
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';
import { isZlibError } from './zlib-error.ts';
import { requireOneZstdFrame } from './zstd-frame.ts';

/** What the types of Node 20 do not know. */
interface ZstdOfNode {
  readonly zstdCompressSync?: (data: Buffer, options: object) => Buffer;
  readonly zstdDecompressSync?: (data: Buffer, options: object) => Buffer;
  readonly constants: Readonly<Record<string, number>>;
}
const node = zlib as unknown as ZstdOfNode;

function requireZstd(): Required<ZstdOfNode> {
  const { zstdCompressSync, zstdDecompressSync, constants } = node;
  if (zstdCompressSync && zstdDecompressSync) {
    return { zstdCompressSync, zstdDecompressSync, constants };
  }
  throw new Error(`Node.js ${process.versions.node} has no zstd, which came with 22.15`);
}

export function nodeZstdEncoder(level: number, crc32: (data: Buffer) => number): FrameEncoder {
  const { zstdCompressSync, constants } = requireZstd();
  const { ZSTD_c_compressionLevel: levelKey = 0, ZSTD_c_checksumFlag: checksumKey = 0 } = constants;
  const params = { [levelKey]: level, [checksumKey]: 1 };
  return {
    name: `zstd of Node.js -${level}`,
    compress(raw, stored) {
      const frame = zstdCompressSync(raw, { params, pledgedSrcSize: raw.length });
      if (frame.copy(stored) < frame.length)
        throw new Error('zstd made more than the frame can be');
      return { stored: frame.length, crc32: crc32(raw) };
    },
  };
}

export function nodeZstdDecoder(crc32: (data: Buffer) => number): FrameDecoder {
  const { zstdDecompressSync } = requireZstd();
  return {
    name: 'zstd of Node.js',
    decompress(stored, raw) {
      requireOneZstdFrame(stored);
      try {
        const options = {
          chunkSize: Math.max(64, raw.length + 1),
          maxOutputLength: Math.max(1, raw.length),
        };
        const content = zstdDecompressSync(stored, options);
        if (content.length !== raw.length) throw new FrameDamage('it holds less than it should');
        content.copy(raw);
      } catch (error) {
        if (!isZlibError(error)) throw error;
        throw new FrameDamage(`its data cannot be decompressed: ${error.message}`, {
          cause: error,
        });
      }
      return crc32(raw);
    },
  };
}
