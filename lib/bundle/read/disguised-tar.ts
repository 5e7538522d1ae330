// Tells whether file(1) reports content as tar. It does not need the magic for that: a correct checksum is enough
// (src/is_tar.c), or a block that has the shape of a header (magic/Magdir/archive, from 5.33 on).

const blockSize = 512;
const checksumAt = 148;
const checksumLength = 8;

/** Whether some version of file(1) reports content that begins with `bytes` as a tar archive. */
export function isTar(bytes: Buffer): boolean {
  if (bytes.length < blockSize) return false;
  const stated = statedChecksum(bytes);
  return (stated !== undefined && checksums(bytes).has(stated)) || isShapedLikeTar(bytes);
}

/**
 * The number in the checksum field: octal digits after white space, followed by white space, a NUL or the end of the field.
 * Undefined when the field is not a number; without any digits it is 0.
 */
function statedChecksum(bytes: Buffer): number | undefined {
  const field = bytes.toString('latin1', checksumAt, checksumAt + checksumLength);
  const digits = /^[ \t\n\v\f\r]*([0-7]*)(?:[ \t\n\v\f\r\0]|$)/.exec(field)?.[1];
  return digits === undefined ? undefined : parseInt(`0${digits}`, 8);
}

/**
 * The checksums that tools compute, which are sums of all bytes with spaces in the checksum field. file(1) adds unsigned bytes
 * and subtracts those of the field as `char`, which is signed on x86 and unsigned on ARM. Some old tar programs wrote the
 * sum of signed bytes.
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

/** The rule of file(1) for headers padded with NULs, which ignores the checksum; as wide as in any of its versions. */
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
