// Whether a raw disk would be taken for something else by a tool that probes formats. A guest can
// write such a header into its own disk; who probes it then opens the files that the header names, or
// unpacks what is no archive.

interface Signature {
  readonly name: string;
  readonly offset: number;
  readonly magic: Buffer;
}

const text = (magic: string) => Buffer.from(magic, 'latin1');

// QEMU's block drivers, the probe function of each (block/qcow2.c, qcow.c, qed.c, vmdk.c, vdi.c,
// vhdx.c, vpc.c, parallels.c, bochs.c, cloop.c, crypto.c). dmg is probed by its file name only, and
// vpc by the head only, though fixed VHD files have their magic at the end.
const signatures: readonly Signature[] = [
  { name: 'qcow', offset: 0, magic: text('QFI\xfb') },
  { name: 'qed', offset: 0, magic: text('QED\0') },
  { name: 'vmdk', offset: 0, magic: text('KDMV') },
  { name: 'vmdk', offset: 0, magic: text('COWD') },
  { name: 'vdi', offset: 0x40, magic: Buffer.from('7f10dabe', 'hex') },
  { name: 'vhdx', offset: 0, magic: text('vhdxfile') },
  { name: 'vpc', offset: 0, magic: text('conectix') },
  { name: 'parallels', offset: 0, magic: text('WithoutFreeSpace') },
  { name: 'parallels', offset: 0, magic: text('WithouFreSpacExt') },
  { name: 'bochs', offset: 0, magic: text('Bochs Virtual HD Image') },
  { name: 'cloop', offset: 0, magic: text('#!/bin/sh\n#V2.0 Format\nmodprobe cloop') },
  { name: 'luks', offset: 0, magic: text('LUKS\xba\xbe') },
];

// OpenNebula's datastore/downloader.sh asks file(1), and unpacks or unarchives what it says.
const archives: readonly Signature[] = [
  { name: 'gzip', offset: 0, magic: Buffer.from('1f8b', 'hex') },
  { name: 'bzip2', offset: 0, magic: text('BZh') },
  { name: 'xz', offset: 0, magic: Buffer.from('fd377a585a00', 'hex') },
  { name: 'zip', offset: 0, magic: text('PK\x03\x04') },
  { name: 'zip', offset: 0, magic: text('PK\x05\x06') },
  { name: 'zip', offset: 0, magic: text('PK00PK\x03\x04') },
  { name: 'tar', offset: 257, magic: text('ustar') },
];

/** QEMU looks at 512 bytes (BLOCK_PROBE_BUF_SIZE); some more do no harm. */
const probedBytes = 2048;

/**
 * The format that a probing tool takes content for that begins with `head` (2 KiB or more, or the whole of a
 * shorter disk); undefined when that is raw.
 */
export function looksLike(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, probedBytes));
  const found = [...signatures, ...archives].find(({ offset, magic }) =>
    bytes.subarray(offset, offset + magic.length).equals(magic),
  );
  return found?.name ?? (isVmdkDescriptor(bytes) ? 'vmdk' : isOldTar(bytes) ? 'tar' : undefined);
}

/** file(1) takes a first block for tar whose checksum is right, without any magic (is_tar.c). */
function isOldTar(bytes: Buffer): boolean {
  if (bytes.length < 512) return false;
  const stated = /^ *([0-7]+)[ \0]/.exec(bytes.toString('latin1', 148, 156))?.[1];
  if (stated === undefined) return false;
  const blanks = 8 * 0x20;
  const sum = (from: number, to: number) =>
    bytes.subarray(from, to).reduce((all, one) => all + one, 0);
  return sum(0, 148) + blanks + sum(156, 512) === parseInt(stated, 8);
}

/** QEMU passes over comments and blank lines, then wants `version=1` to `3`; others look for a title. */
function isVmdkDescriptor(bytes: Buffer): boolean {
  const start = bytes.toString('latin1');
  if (start.startsWith('# Disk DescriptorFile')) return true;
  return /^(?:[ \r]*(?:#[^\n]*)?\n)*version=[1-3]\r?\n/.test(start);
}
