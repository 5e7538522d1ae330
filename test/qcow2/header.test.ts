import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { headerFields, headerLengths } from '../../lib/qcow2/format.ts';
import { writeQcow2Header } from '../../lib/qcow2/header-writer.ts';
import { declaredVirtualSize, neededL1Entries, readQcow2Header } from '../../lib/qcow2/header.ts';
import { inFolder } from '../support/nbd-servers.ts';

const read = (head: Uint8Array) =>
  readQcow2Header(head, (fault, detail) => new RangeError(`${fault} ${detail}`));

/** The head of an image that qemu-img made, with an internal snapshot, and what qemu-img says of it. */
function made(...options: readonly string[]) {
  return inFolder((folder) => {
    const path = join(folder, 'image');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path, '300M']);
    execFileSync('qemu-img', ['snapshot', '-c', 'one', path]);
    const info = execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', path]);
    return Promise.resolve({
      head: readFileSync(path).subarray(0, 104),
      info: JSON.parse(info.toString()) as {
        'virtual-size': number;
        'cluster-size': number;
        'format-specific': { data: { 'refcount-bits': number; compat: string } };
      },
    });
  });
}

describe('the fields of a qcow2 header', () => {
  test('the fields of a qcow2 header lie one after another without gaps, up to its end', () => {
    let end = 0;
    for (const { offset, bytes } of Object.values(headerFields)) {
      expect(offset).toBe(end);
      end += bytes;
    }
    expect(end).toBe(headerLengths[3]);
    expect(headerFields.incompatibleFeatures.offset).toBe(headerLengths[2]);
  });

  test.each([
    ['as qemu-img makes it', []],
    ['of version 2', ['-o', 'compat=0.10']],
    [
      'with clusters of 512 bytes and refcounts of 1 bit',
      ['-o', 'cluster_size=512,refcount_bits=1'],
    ],
    ['with clusters of 2 MiB and refcounts of 64 bits', ['-o', 'cluster_size=2M,refcount_bits=64']],
    ['with subclusters', ['-o', 'extended_l2=on']],
  ])(
    'the fields of a qcow2 header are read as qemu-img says they are, in an image %s',
    async (_, options) => {
      const { head, info } = await made(...options);
      const { 'refcount-bits': refcountBits, compat } = info['format-specific'].data;
      const header = read(head);
      expect(header).toMatchObject({
        version: compat === '0.10' ? 2 : 3,
        virtualSize: info['virtual-size'],
        clusterSize: info['cluster-size'],
        refcountBits,
        snapshots: 1,
        isDirty: false,
        backingName: { offset: 0, length: 0 },
      });
      expect(header.l1Entries).toBeGreaterThanOrEqual(neededL1Entries(header));
      expect(declaredVirtualSize(head)).toBe(info['virtual-size']);
    },
  );
});

test('a qcow2 header that was written is read as what was written', () => {
  const sizes = fc.record({ bits: fc.integer({ min: 9, max: 21 }), sectors: fc.nat(1_000_000) });
  fc.assert(
    fc.property(sizes, fc.nat(1000), fc.nat(16), ({ bits, sectors }, cluster, tableClusters) => {
      const clusterSize = 2 ** bits;
      const wanted = {
        clusterSize,
        virtualSize: sectors * 512,
        l1Entries: neededL1Entries({ virtualSize: sectors * 512, clusterSize, l2EntrySize: 8 }),
        l1Offset: cluster * clusterSize,
        refcountTableOffset: clusterSize,
        refcountTableClusters: Math.min(tableClusters, 4),
      };
      const head = writeQcow2Header(wanted);
      expect(head.length).toBe(clusterSize);
      expect(read(head)).toEqual({
        ...wanted,
        version: 3,
        length: 104,
        backingName: { offset: 0, length: 0 },
        refcountBits: 16,
        snapshots: 0,
        isDirty: false,
        l2EntrySize: 8,
      });
    }),
  );
});

test.each([
  ['nothing', Buffer.alloc(0)],
  ['less than its magic', Buffer.from('QFI', 'latin1')],
  ['its magic alone', Buffer.from('QFI\xfb', 'latin1')],
  ['zeros', Buffer.alloc(104)],
])('a file that begins with %s declares no size as a qcow2 file does', (_, head) => {
  expect(declaredVirtualSize(head)).toBeUndefined();
  expect(() => read(head)).toThrow(new RangeError('not qcow2 '));
});
