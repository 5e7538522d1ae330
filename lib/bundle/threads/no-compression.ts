// Frames that are stored as they are: `raw` is the frame itself. They only need their CRC-32.
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';

/** Leaves `stored` alone. */
export function noEncoder(crc32: (data: Buffer) => number): FrameEncoder {
  return {
    name: 'no compression',
    compress: (raw) => ({ stored: raw.length, crc32: crc32(raw) }),
  };
}

/** The frame has been read into `raw`; `stored` is not looked at. */
export function noDecoder(crc32: (data: Buffer) => number): FrameDecoder {
  return {
    name: 'no compression',
    decompress(stored, raw) {
      if (stored.length !== raw.length) throw new FrameDamage('it has another size');
      return crc32(raw);
    },
  };
}
