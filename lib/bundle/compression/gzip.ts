// gzip, RFC 1952: the default, since every system can unpack it. A frame is one gzip member.
import type { CompressionFormat } from './compression-format.ts';
import { gunzip } from './gunzip.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

export const gzip = {
  extension: 'tar.gz',
  levels: { lowest: 0, highest: 9, default: 1 },
  frameMagic: hex('1f8b08'),
  // A member ends in the CRC-32 and the length of what was compressed.
  frameEnd: (end) => ({ crc32: end.readUInt32LE(0), length: end.readUInt32LE(4) }),
  trailer: {
    // Magic, deflate, FEXTRA, no time, XFL 0, OS unknown; XLEN 68; subfield "OV" of 64 bytes.
    before: hex('1f8b080400000000' + '00ff' + '4400' + '4f56' + '4000'),
    // An empty deflate block, CRC-32 0 and length 0.
    after: hex('0300' + '00000000' + '00000000'),
  },
  isStart: (head) => head.length >= 4 && head.readUInt16BE(0) === 0x1f8b,
  decompress: gunzip,
} as const satisfies CompressionFormat;
