// Finds raw disks that a tool which probes formats would mistake for another format. A guest can write the header of any
// format into its own disk. Such a tool then opens the files that the header names, or unpacks an archive that the guest
// made, as oneadmin on the front-end.
import { isTar } from './disguised-tar.ts';

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

// OpenNebula's datastore/downloader.sh (6.4.7 to 7.4.0) asks file(1) for the MIME type, decompresses
// gzip, bzip2 and xz, and unpacks tar and zip. The magics are those of file 5.33 to 5.48: Magdir/archive,
// compress and msdos. Of szdd and zstd's skippable frames, what follows decides the type; and what begins at
// byte 128 decides it for headers of MacBinary and of DOS backups.
const archives: readonly Signature[] = [
  ...[0, 128].flatMap((offset) => [
    { name: 'gzip', offset, magic: Buffer.from('1f8b', 'hex') },
    { name: 'bzip2', offset, magic: text('BZh') },
    { name: 'xz', offset, magic: Buffer.from('fd377a585a00', 'hex') },
    { name: 'zip', offset, magic: text('PK\x03\x04') },
    { name: 'zip', offset, magic: text('PK\x05\x06') },
    { name: 'zip', offset, magic: text('PK\x07\x08') },
    { name: 'zip', offset, magic: text('PK\x01\x02') },
    { name: 'zip', offset, magic: text('PK00PK\x03\x04') },
  ]),
  { name: 'zip', offset: 0x1e, magic: text('Copyright 1989-1990 PKWARE Inc.') },
  { name: 'zip', offset: 0x1e, magic: text('PKLITE Copr.') },
  { name: 'tar', offset: 257, magic: text('ustar') },
  { name: 'szdd', offset: 0, magic: Buffer.from('535a444488f027', 'hex') },
  { name: 'szdd', offset: 0, magic: Buffer.from('535a2088f027', 'hex') },
  ...Array.from({ length: 16 }, (_, low) => ({
    name: 'zstd',
    offset: 0,
    magic: Buffer.from([0x50 + low, 0x2a, 0x4d, 0x18]),
  })),
];

/** QEMU looks at 512 bytes (BLOCK_PROBE_BUF_SIZE); some more do no harm. */
export const probedBytes = 2048;

/**
 * The format that a probing tool sees in content; undefined: raw. lib/bundle/read/file-type.ts also asks file(1).
 * @param head the first 2 KiB or more, or all of a shorter disk
 */
export function looksLike(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, probedBytes));
  const found = [...signatures, ...archives].find(({ offset, magic }) =>
    bytes.subarray(offset, offset + magic.length).equals(magic),
  );
  return found?.name ?? (isVmdkDescriptor(bytes) ? 'vmdk' : isTar(bytes) ? 'tar' : undefined);
}

/** QEMU skips comments and blank lines, and then expects `version=1` to `3`; other tools look for a title. */
function isVmdkDescriptor(bytes: Buffer): boolean {
  const start = bytes.toString('latin1');
  if (start.startsWith('# Disk DescriptorFile')) return true;
  return /^(?:[ \r]*(?:#[^\n]*)?\n)*version=[1-3]\r?\n/.test(start);
}
