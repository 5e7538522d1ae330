// zstd, RFC 8878, with the program of that name: Node.js has no zstd before version 22.15. A frame is one zstd frame.
import type { CompressionFormat } from './compression-format.ts';
import { decompressBy } from './decompress-by.ts';
import { withoutZeroTail } from './frame-walk.ts';
import { isFrame, isSkippable, ZstdWalk } from './zstd-walk.ts';

export const zstd = {
  extension: 'tar.zst',
  levels: { lowest: 1, highest: 19, default: 1 },
  frameMagic: Buffer.from('28b52ffd', 'hex'),
  // A skippable frame with the magic number 0x184D2A5E, and 64 bytes of data.
  trailer: { before: Buffer.from('5e2a4d18' + '40000000', 'hex'), after: Buffer.alloc(0) },
  isStart(head) {
    if (head.length < 4) return false;
    const magic = head.readUInt32LE(0);
    return isFrame(magic) || isSkippable(magic);
  },
  decompress: decompressBy({
    program: 'zstd',
    args: ['-d', '-c', '-q', '--no-progress'],
    // The program treats zeros after the last frame as damage.
    withoutZeros: (chunks) => withoutZeroTail(chunks, new ZstdWalk()),
  }),
} as const satisfies CompressionFormat;
