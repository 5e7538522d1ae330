// Recognizes zeros: the blocks at the end of a tar archive, and the holes of a disk that was read as data.

const zeros = Buffer.alloc(1024 * 1024);

/** Whether `data` holds nothing but zeros. */
export function isZero(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += zeros.length) {
    const part = data.subarray(at, at + zeros.length);
    if (zeros.compare(part, 0, part.length, 0, part.length) !== 0) return false;
  }
  return true;
}
