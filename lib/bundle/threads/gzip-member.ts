// The parts of a gzip member around its deflate stream: RFC 1952, section 2.3.
import { FrameDamage } from './frame-engine.ts';

/** CRC-32 and length of the content, both little-endian. */
export const gzipEndSize = 8;

const fixedSize = 10;
const flags = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 };

/** Where the deflate stream begins. @throws FrameDamage when this is not a whole gzip member */
export function gzipHeaderSize(member: Buffer): number {
  if (member.length < fixedSize + gzipEndSize) throw new FrameDamage('it is too short');
  if (member.readUInt16BE(0) !== 0x1f8b || member[2] !== 8) {
    throw new FrameDamage('it does not begin like a gzip member');
  }
  const flag = member[3] ?? 0;
  if ((flag & flags.reserved) !== 0) throw new FrameDamage('its header has unknown flags');
  let at = fixedSize;
  if (flag & flags.extra) at += 2 + member.readUInt16LE(at);
  if (flag & flags.name) at = afterText(member, at);
  if (flag & flags.comment) at = afterText(member, at);
  if (flag & flags.headerCrc) at += 2;
  if (at + gzipEndSize > member.length) throw new FrameDamage('its header does not end');
  return at;
}

/** @throws FrameDamage when the member says that its content is another one */
export function requireGzipEnd(member: Buffer, length: number, crc32: number): void {
  const end = member.length - gzipEndSize;
  if (member.readUInt32LE(end + 4) !== length) throw new FrameDamage('it states another length');
  if (member.readUInt32LE(end) !== crc32) throw new FrameDamage('its CRC-32 does not match');
}

function afterText(member: Buffer, at: number): number {
  const end = member.indexOf(0, at);
  if (end < 0) throw new FrameDamage('its header does not end');
  return end + 1;
}
