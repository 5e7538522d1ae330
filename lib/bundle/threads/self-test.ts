// Tests an engine with known bytes before it is trusted. A library that was replaced by another one, or whose calling
// convention is not what we think, must not be found out by a restore.
import { crc32 as crc32OfZlib, gzipSync } from 'node:zlib';
import type { FrameDecoder, FrameEncoder } from './frame-engine.ts';
import { storedBound } from './frame-engine.ts';

/** A zstd frame with a checksum, made by zstd 1.5.4, and the CRC-32 and length of its content. */
const knownZstd = {
  frame: Buffer.from(
    'KLUv/QRYhQMAhARUaGUgcXVpY2sgYnJvd24gZm94IGp1bXBzIG92ZXIgdGhlIGxhenkgZG9nIDAgdGltZXMuIDE0OTE2MjUzNjQ5' +
      'NjQ4MTEwMgANACi4kjhodx3EiQNOHHDigBMHnDhZTxysOTHgZAGnBJy3wqaCAmxrU6Q=',
    'base64',
  ),
  crc32: 0x190cb41d,
  length: 946,
};

/** @throws Error unless this is the CRC-32 of gzip */
export function requireCrc32(crc32: (data: Buffer) => number): void {
  const data = knownBlock();
  if (crc32(Buffer.from('123456789')) === 0xcbf43926 && crc32(data) === crc32OfZlib(data)) return;
  throw new Error('self-test failed: its CRC-32 is wrong');
}

/** @throws Error unless `judge` gets back what the encoder was given */
export async function requireEncodes(encoder: FrameEncoder, judge: FrameDecoder): Promise<void> {
  const block = knownBlock();
  for (const raw of [block, block.subarray(0, 1)]) {
    const stored = Buffer.alloc(storedBound(raw.length));
    const content = Buffer.alloc(raw.length);
    try {
      const made = await encoder.compress(raw, stored);
      const crc32 = await judge.decompress(stored.subarray(0, made.stored), content);
      if (crc32 === made.crc32 && content.equals(raw)) continue;
    } catch (error) {
      throw new Error(`self-test failed: ${(error as Error).message}`, { cause: error });
    }
    throw new Error('self-test failed: it did not compress what it was given');
  }
}

/** @throws Error unless the decoder knows a frame that something else has made */
export async function requireDecodes(
  decoder: FrameDecoder,
  method: 'gzip' | 'zstd',
): Promise<void> {
  const block = knownBlock();
  const known =
    method === 'zstd'
      ? knownZstd
      : { frame: gzipSync(block), crc32: crc32OfZlib(block), length: block.length };
  const content = Buffer.alloc(known.length);
  try {
    const crc32 = await decoder.decompress(known.frame, content);
    if (crc32 === known.crc32 && crc32OfZlib(content) === crc32) return;
  } catch (error) {
    throw new Error(`self-test failed: ${(error as Error).message}`, { cause: error });
  }
  throw new Error('self-test failed: it did not decompress a known frame');
}

/** 96 KiB, longer than the window of deflate: text, zeros, and bytes that cannot be compressed. */
function knownBlock(): Buffer {
  const block = Buffer.alloc(96 * 1024);
  let at = 0;
  for (let line = 0; at < 64 * 1024; line++)
    at += block.write(`line ${line * line} of a text\n`, at);
  let random = 1;
  for (at = 80 * 1024; at < block.length; at += 4) {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    block.writeUInt32LE(random, at);
  }
  return block;
}
