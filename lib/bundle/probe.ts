// Whether a raw disk would be taken for something else by a tool that probes formats. A guest can
// write such a header into its own disk; who probes it then opens the files that the header names.

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

/** QEMU looks at 512 bytes (BLOCK_PROBE_BUF_SIZE); some more do no harm. */
const probedBytes = 2048;

/**
 * The format that probing takes content for that begins with `head` (2 KiB or more, or the whole of a
 * shorter disk); undefined when that is raw.
 */
export function looksLike(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, probedBytes));
  const found = signatures.find(({ offset, magic }) =>
    bytes.subarray(offset, offset + magic.length).equals(magic),
  );
  return found?.name ?? (isVmdkDescriptor(bytes) ? 'vmdk' : undefined);
}

/** QEMU passes over comments and blank lines, then wants `version=1` to `3`; others look for a title. */
function isVmdkDescriptor(bytes: Buffer): boolean {
  const start = bytes.toString('latin1');
  if (start.startsWith('# Disk DescriptorFile')) return true;
  return /^(?:[ \r]*(?:#[^\n]*)?\n)*version=[1-3]\r?\n/.test(start);
}
