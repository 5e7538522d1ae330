// The layout of zstd frames, as far as it is needed to find the end of the last one: RFC 8878, 3.1.1 and 3.1.2.
import { FrameWalk } from './frame-walk.ts';

/** Whether a frame with data begins with this number. */
export function isFrame(magic: number): boolean {
  return magic === 0xfd2fb528;
}

/** Whether a skippable frame begins with this number, whose last hexadecimal digit is free. */
export function isSkippable(magic: number): boolean {
  return magic >>> 4 === 0x184d2a5;
}

/** Walks over the headers and blocks of frames, and over skippable frames. */
export class ZstdWalk extends FrameWalk {
  #hasChecksum = false;

  protected override magic(field: Buffer): void {
    const magic = field.readUInt32LE(0);
    if (isFrame(magic)) this.read(1, this.#descriptor);
    else if (isSkippable(magic)) this.read(4, this.#skippable);
    else this.passOn();
  }

  #skippable(field: Buffer): void {
    this.endFrame(field.readUInt32LE(0));
  }

  #descriptor([descriptor = 0]: Buffer): void {
    const single = (descriptor & 0x20) !== 0;
    const sizes = [single ? 1 : 0, 2, 4, 8];
    const dictionaries = [0, 1, 2, 4];
    this.#hasChecksum = (descriptor & 4) !== 0;
    const header = (sizes[descriptor >>> 6] ?? 0) + (dictionaries[descriptor & 3] ?? 0);
    this.read(3, this.#block, header + (single ? 0 : 1));
  }

  #block(field: Buffer): void {
    const header = field.readUIntLE(0, 3);
    const isLast = (header & 1) !== 0;
    const isRle = ((header >>> 1) & 3) === 1;
    const stored = isRle ? 1 : header >>> 3;
    if (!isLast) this.read(3, this.#block, stored);
    else this.endFrame(stored + (this.#hasChecksum ? 4 : 0));
  }
}
