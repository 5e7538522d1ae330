import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { looksLike } from '../../lib/bundle/read/disguised-disk.ts';
import { readStandAloneHeader } from '../../lib/qcow2/stand-alone.ts';
import { Qcow2StreamCheck } from '../../lib/qcow2/stream-check.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { extract, MiB, withBundle } from '../support/read-bundle.ts';
import { makeDisk, noise, testFolder, tool, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

/** The first 64 KiB of a file. */
function headOf(path: string): Buffer {
  const file = openSync(path, 'r');
  const head = Buffer.alloc(65536);
  const length = readSync(file, head);
  closeSync(file);
  return head.subarray(0, length);
}

function create(name: string, ...options: readonly string[]): Buffer {
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, at(name), '20M');
  return headOf(at(name));
}

describe('the header of a stand-alone qcow2 file', () => {
  test.each([
    ['as qemu-img makes it', []],
    ['of version 2', ['-o', 'compat=0.10']],
    ['with small clusters', ['-o', 'cluster_size=512']],
    ['with large clusters', ['-o', 'cluster_size=2M']],
    ['with zstd compression', ['-o', 'compression_type=zstd']],
    ['with subclusters', ['-o', 'extended_l2=on']],
    ['with small refcounts', ['-o', 'refcount_bits=1']],
    ['with lazy refcounts', ['-o', 'lazy_refcounts=on']],
    ['with metadata in advance', ['-o', 'preallocation=metadata']],
  ])('the header of a stand-alone qcow2 file %s says what qemu-img says', (name, options) => {
    const header = readStandAloneHeader(create('sound', ...options));
    const info = JSON.parse(
      tool('qemu-img', 'info', '--output=json', '-f', 'qcow2', at('sound')),
    ) as {
      'virtual-size': number;
      'cluster-size': number;
    };
    expect([name, header.virtualSize, header.clusterSize]).toEqual([
      name,
      info['virtual-size'],
      info['cluster-size'],
    ]);
  });
});

describe('a qcow2 file is refused', () => {
  test('a qcow2 file is refused that has a backing file', () => {
    create('base');
    const head = create('backed', '-b', at('base'), '-F', 'qcow2');
    expect(() => readStandAloneHeader(head)).toThrow(
      'its qcow2 header is refused: it names a backing file',
    );
  });

  test('a qcow2 file is refused that has an external data file', () => {
    const head = create('external', '-o', `data_file=${at('data')}`);
    expect(() => readStandAloneHeader(head)).toThrow('it names an external data file');
  });

  const edits: readonly (readonly [string, (head: Buffer) => void, string])[] = [
    ['whose magic is another', (head) => head.writeUInt8(0, 3), 'it is not a qcow2 file'],
    ['of version 1', (head) => head.writeUInt32BE(1, 4), 'unknown version 1'],
    ['of version 4', (head) => head.writeUInt32BE(4, 4), 'unknown version 4'],
    ['with a backing name of some length', (head) => head.writeUInt32BE(5, 16), 'a backing file'],
    ['with tiny clusters', (head) => head.writeUInt32BE(8, 20), 'cluster size is out of range'],
    ['with huge clusters', (head) => head.writeUInt32BE(22, 20), 'cluster size is out of range'],
    ['encrypted by AES', (head) => head.writeUInt32BE(1, 32), 'it is encrypted'],
    ['encrypted by LUKS', (head) => head.writeUInt32BE(2, 32), 'it is encrypted'],
    ['of 2^63 bytes', (head) => head.writeUInt32BE(0x80000000, 24), 'out of range'],
    ['larger than its L1 table', (head) => head.writeUInt32BE(1000, 24), 'L1 table does not fit'],
    ['with a huge L1 table', (head) => head.writeUInt32BE(0xffffffff, 36), 'L1 table does not fit'],
    ['with an L1 table off its cluster', (head) => head.writeUInt8(1, 47), 'start of a cluster'],
    [
      'with a refcount table off its cluster',
      (head) => head.writeUInt8(1, 55),
      'start of a cluster',
    ],
    ['with a huge refcount table', (head) => head.writeUInt32BE(1000, 56), 'refcount table is too'],
    ['that is marked as corrupt', (head) => head.writeUInt8(2, 79), 'marked as corrupt'],
    ['that needs unknown features', (head) => head.writeUInt8(32, 79), 'unknown features'],
    ['that needs features far out', (head) => head.writeUInt8(128, 72), 'unknown features'],
    ['with strange refcounts', (head) => head.writeUInt32BE(7, 96), 'refcount size'],
    ['with a short header', (head) => head.writeUInt32BE(96, 100), 'header length'],
    [
      'with a header longer than a cluster',
      (head) => head.writeUInt32BE(65544, 100),
      'header length',
    ],
  ];
  test.each(edits)('a qcow2 file is refused %s', (_name, edit, message) => {
    const head = Buffer.from(create('edited'));
    edit(head);
    expect(() => readStandAloneHeader(head)).toThrow(message);
  });

  test.each([0, 4, 71, 103])(
    'a qcow2 file is refused of which there are only %i bytes',
    (length) => {
      expect(() => readStandAloneHeader(create('short').subarray(0, length))).toThrow(/refused/);
    },
  );
});

describe('the structure of a qcow2 disk in a bundle', () => {
  const cases = [
    { clusterSize: 512, virtualSize: 3 * MiB + 512 },
    { clusterSize: 65536, virtualSize: 8 * MiB },
    { clusterSize: 65536, virtualSize: 0 },
    { clusterSize: 2 * MiB, virtualSize: 9 * MiB },
  ];
  const extents = (size: number) =>
    [
      { offset: 4096, length: 8192 },
      { offset: MiB, length: 300_032 },
      { offset: 3 * MiB, length: 512 },
    ].filter(({ offset, length }) => offset + length <= size);

  const files: Buffer[] = [];
  beforeAll(async () => {
    for (const [n, { clusterSize, virtualSize }] of cases.entries()) {
      await makeDisk(at('raw'), virtualSize, extents(virtualSize));
      const layout = { format: 'qcow2' as const, clusterSize };
      const disk = { path: at('raw'), virtualSize, extents: extents(virtualSize), layout };
      await writeBundle(at(`b${n}`), await pickCompressor({ method: 'none' }), [disk]);
      await withBundle(at(`b${n}`), async ({ disks }) => extract(disks[0]!, at('file')));
      tool('qemu-img', 'check', '-q', '-f', 'qcow2', at('file'));
      files.push(readFileSync(at('file')));
    }
  });

  const check = (n: number, file: Buffer, step: number) => {
    const stream = new Qcow2StreamCheck({ fileSize: files[n]!.length, ...cases[n]! });
    for (let from = 0; from < file.length; from += step)
      stream.update(file.subarray(from, from + step));
    stream.end();
  };

  test.each(cases.map((one, n) => [n, one.clusterSize, one.virtualSize]))(
    'the structure of a qcow2 disk in a bundle is found sound in any pieces (%i: clusters of %i, %i bytes)',
    (n) => {
      for (const step of [100, 511, 512, 1000, 65536, 1 << 20]) check(n, files[n]!, step);
    },
  );

  test('the structure of a qcow2 disk in a bundle is found damaged when any bit that counts of its tables is changed', () => {
    const file = files[0]!;
    const data = file.indexOf(noise(512, 4097));
    expect(data).toBeGreaterThan(10 * 512);
    for (let byte = 512; byte < data; byte += 1) {
      const damaged = Buffer.from(file);
      damaged[byte] = damaged[byte]! ^ (1 << (byte % 8));
      expect(() => check(0, damaged, 1 << 20)).toThrow(/qcow2 structure is damaged/);
    }
  });

  test('the structure of a qcow2 disk in a bundle is found damaged when the file is cut or grown by a cluster', () => {
    const file = files[1]!;
    expect(() => check(1, file.subarray(0, -65536), 65536)).toThrow(/do not agree/);
    expect(() => check(1, Buffer.concat([file, Buffer.alloc(65536)]), 65536)).toThrow(
      /more data than its tables name/,
    );
  });

  test('the structure of a qcow2 disk in a bundle is not that of a file which qemu-img laid out', () => {
    create('other');
    tool('qemu-io', '-f', 'qcow2', '-c', 'write 2M 64k', '-c', 'write 1M 64k', at('other'));
    const file = readFileSync(at('other'));
    const sizes = { fileSize: file.length, virtualSize: 20 * MiB, clusterSize: 65536 };
    const stream = new Qcow2StreamCheck(sizes);
    expect(() => {
      stream.update(file);
      stream.end();
    }).toThrow(/qcow2 structure is damaged/);
  });
});

describe('a raw disk that begins like another format', () => {
  test.each(['qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'])(
    'the beginning of a raw disk is recognized as qemu-img probes it: %s',
    (format) => {
      tool('qemu-img', 'create', '-q', '-f', format, at('probe'), '8M');
      const info = execFileSync('qemu-img', ['info', '--output=json', at('probe')], {
        encoding: 'utf8',
      });
      expect((JSON.parse(info) as { format: string }).format).toBe(format);
      expect(looksLike(headOf(at('probe')))).toBe(format === 'qcow2' ? 'qcow' : format);
    },
  );

  test.each([
    ['a vmdk descriptor', '# Disk DescriptorFile\nversion=1\n', 'vmdk'],
    ['a vmdk descriptor without its title', '# x\n\n  \r\nversion=3\r\n', 'vmdk'],
    ['an old vmdk', 'COWD\x01', 'vmdk'],
    ['a large parallels disk', 'WithouFreSpacExt', 'parallels'],
    ['luks', 'LUKS\xba\xbe\0\x01', 'luks'],
    ['bochs', 'Bochs Virtual HD Image\0', 'bochs'],
    ['cloop', '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0', 'cloop'],
  ])('the beginning of a raw disk is recognized: %s', (_name, start, format) => {
    expect(looksLike(Buffer.from(start.padEnd(4096, '\0'), 'latin1'))).toBe(format);
  });

  test.each([
    ['zeros', Buffer.alloc(4096)],
    ['nothing', Buffer.alloc(0)],
    ['noise', noise(4096)],
    ['a boot sector', Buffer.from(`eb63${'90'.repeat(508)}55aa`, 'hex')],
    ['a script', Buffer.from('#!/bin/sh\necho version=1\n')],
    ['a late signature', Buffer.from(`${'x'.repeat(3000)}QFI\xfb`, 'latin1')],
  ])('a disk is raw when it begins with %s', (_name, head) => {
    expect(looksLike(head)).toBeUndefined();
  });

  test('a disk is raw when it is a file system', () => {
    tool('truncate', '-s', '8M', at('fs'));
    tool('mkfs.ext4', '-q', at('fs'));
    expect(looksLike(headOf(at('fs')))).toBeUndefined();
  });
});
