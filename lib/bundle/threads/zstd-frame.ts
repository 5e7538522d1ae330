// Finds where a zstd frame ends: RFC 8878, 3.1.1. Only the headers of its blocks are read.
import { FrameDamage } from './frame-engine.ts';

/** @throws FrameDamage unless the bytes are exactly one frame, as far as the headers say */
export function requireOneZstdFrame(stored: Buffer): void {
  if (stored.length < 9 || stored.readUInt32LE(0) !== 0xfd2fb528) {
    throw new FrameDamage('it does not begin like a zstd frame');
  }
  const descriptor = stored[4] ?? 0;
  const isSingle = (descriptor & 0x20) !== 0;
  const sizes = [isSingle ? 1 : 0, 2, 4, 8];
  const dictionaries = [0, 1, 2, 4];
  let at = 5 + (isSingle ? 0 : 1);
  at += (sizes[descriptor >>> 6] ?? 0) + (dictionaries[descriptor & 3] ?? 0);
  for (let isLast = false; !isLast;) {
    if (at + 3 > stored.length) throw new FrameDamage('it ends too early');
    const header = stored.readUIntLE(at, 3);
    isLast = (header & 1) !== 0;
    const isRle = ((header >>> 1) & 3) === 1;
    at += 3 + (isRle ? 1 : header >>> 3);
  }
  if ((descriptor & 4) !== 0) at += 4;
  if (at > stored.length) throw new FrameDamage('it ends too early');
  if (at < stored.length) throw new FrameDamage('something follows it');
}
