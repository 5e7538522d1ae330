// Whether file(1) takes a first block for tar. It needs no magic for that: a right checksum is enough
// (src/is_tar.c), and so is a block that is shaped like a header (magic/Magdir/archive, from 5.33 on).

const blockSize = 512;
const checksumAt = 148;
const checksumLength = 8;

/** Whether some version of file(1) takes what begins with `bytes` for a tar archive. */
export function isTar(bytes: Buffer): boolean {
  if (bytes.length < blockSize) return false;
  const stated = statedChecksum(bytes);
  return (stated !== undefined && checksums(bytes).has(stated)) || isShapedLikeTar(bytes);
}

/**
 * The number in the checksum field: octal digits after white space, ended by white space, a NUL or the end of
 * the field. undefined when it is none; no digits at all are 0.
 */
function statedChecksum(bytes: Buffer): number | undefined {
  const field = bytes.toString('latin1', checksumAt, checksumAt + checksumLength);
  const digits = /^[ \t\n\v\f\r]*([0-7]*)(?:[ \t\n\v\f\r\0]|$)/.exec(field)?.[1];
  return digits === undefined ? undefined : parseInt(`0${digits}`, 8);
}

/**
 * The checksums that tools compute: the sum of all bytes with blanks for the field itself. file(1) adds
 * bytes without sign and takes those of the field off as `char`, which has a sign on x86 and none on ARM;
 * some old tar programs wrote the sum of bytes with sign.
 */
function checksums(bytes: Buffer): ReadonlySet<number> {
  let sum = checksumLength * 0x20;
  let high = 0;
  let highInField = 0;
  for (let at = 0; at < blockSize; at++) {
    const byte = bytes[at] ?? 0;
    if (at >= checksumAt && at < checksumAt + checksumLength) {
      highInField += byte >> 7;
    } else {
      sum += byte;
      high += byte >> 7;
    }
  }
  return new Set([sum, sum + 256 * highInField, sum - 256 * high]);
}

/** The rule for headers padded with NULs, whose checksum nobody computes; as wide as in any version. */
function isShapedLikeTar(bytes: Buffer): boolean {
  const name = bytes.readUInt16BE(0);
  return (
    bytes.readBigUInt64BE(500) === 0n &&
    name > 0x1f00 &&
    name < 0xfcfd &&
    (bytes.readUInt32BE(508) & 0x8b9e8dff) === 0 &&
    (bytes.readUInt8(100) & 0xc8) === 0 &&
    (bytes.readUInt8(101) & 0xc8) === 0 &&
    (bytes.readUInt8(155) & 0xdf) === 0 &&
    (bytes.readUInt8(148) & 0xef) === 0x20
  );
}
