// Whole bundles: to other programs an ordinary archive, and indexed as the format document says.
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { frameSize } from '../../lib/bundle/write/frame-size.ts';
import type { Compression } from '../../lib/bundle/compression/compressions.ts';
import type { Frame, Manifest } from '../../lib/bundle/format/manifest.ts';
import { decodeTrailer } from '../../lib/bundle/format/trailer.ts';
import { framesOf, withBundle } from '../support/read-bundle.ts';
import { DiskChecksum } from '../../lib/bundle/format/disk-checksum.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { makeDisk, testFolder, tool, writeBundle, type TestDisk } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

const MiB = 1 << 20;
const disks: TestDisk[] = [
  {
    path: join(folder.path, 'raw'),
    virtualSize: 90 * MiB + 5,
    extents: [
      { offset: MiB, length: 20 * MiB },
      { offset: 30 * MiB, length: 123 },
    ],
    layout: { format: 'raw' },
  },
  {
    path: join(folder.path, 'qcow2'),
    virtualSize: 50 * MiB,
    extents: [{ offset: 3 * MiB, length: 17 * MiB }],
    layout: { format: 'qcow2', clusterSize: 65536 },
  },
];

/** igzip wants to see `.gz`. */
const names = { gzip: 'bundle.tar.gz', zstd: 'bundle.tar.zst', none: 'bundle.tar' };

const decompressors: Record<Compression, [program: string, ...args: string[]]> = {
  gzip: ['gzip', '-dc'],
  zstd: ['zstd', '-dc'],
  none: ['cat'],
};

function decompress(compression: Compression, input: Buffer): Buffer {
  const [program, ...args] = decompressors[compression];
  return execFileSync(program, args, { input, maxBuffer: 1 << 30 });
}

beforeAll(async () => {
  for (const { path, virtualSize, extents } of disks) await makeDisk(path, virtualSize, extents);
});

describe.each(['gzip', 'zstd', 'none'] as const)('a bundle with compression %s', (compression) => {
  const path = join(folder.path, names[compression]);
  let written: Awaited<ReturnType<typeof writeBundle>>;
  let file: Buffer;
  let stream: Buffer;
  let manifest: Manifest;

  beforeAll(async () => {
    written = await writeBundle(path, await pickCompressor({ method: compression }), disks);
    file = readFileSync(path);
    stream = decompress(compression, file);
    manifest = JSON.parse(tool('tar', '-xOf', path, './manifest.json')) as Manifest;
  });

  test(`a bundle with compression ${compression} lists its members in their order, owned by nobody in particular, readable by one`, () => {
    const listed = tool('tar', '--full-time', '-tvf', path).trimEnd().split('\n');
    const time = '2026-01-02 \\d\\d:\\d\\d:05';
    expect(listed).toEqual([
      expect.stringMatching(`^drwx------ 0/0 +0 ${time} \\./$`),
      expect.stringMatching(`^-rw------- 0/0 +20 ${time} \\./vm.xml$`),
      expect.stringMatching(`^-rw------- 0/0 +\\d+ ${time} \\./about.json$`),
      expect.stringMatching(`^-rw------- 0/0 +${90 * MiB + 5} ${time} \\./backup.disk.0$`),
      expect.stringMatching(`^-rw------- 0/0 +\\d+ ${time} \\./regions.disk.0$`),
      expect.stringMatching(`^-rw------- 0/0 +\\d+ ${time} \\./backup.disk.1$`),
      expect.stringMatching(`^-rw------- 0/0 +\\d+ ${time} \\./regions.disk.1$`),
      expect.stringMatching(`^-rw------- 0/0 +\\d+ ${time} \\./manifest.json$`),
    ]);
  });

  test(`a bundle with compression ${compression} has the size that was reported, and is readable by its owner only`, () => {
    expect(written.size).toBe(file.length);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test(`a bundle with compression ${compression} ends in a trailer that points at a frame with the manifest and the end of the archive`, () => {
    const trailer = decodeTrailer(file.subarray(-512), file.length);
    expect(trailer?.compression).toBe(compression);
    const { offset, stored } = trailer!;
    const frame = decompress(compression, file.subarray(offset, offset + stored));
    expect(frame.subarray(0, 15).toString()).toBe('./manifest.json');
    expect(frame.subarray(-1024).equals(Buffer.alloc(1024))).toBe(true);
  });

  test(`a bundle with compression ${compression} has frames that decompress on their own, without gaps, to the parts of the stream`, async () => {
    let stored = 0;
    let length = 0;
    const frames: Frame[] = [];
    await withBundle(path, async (bundle) => {
      for (const member of manifest.members) {
        const disk = bundle.disks.find(({ member: name }) => name === member.name);
        frames.push(...(disk ? await framesOf(bundle, disk.id) : (member.frames ?? [])));
      }
    });
    for (const frame of frames) {
      expect(frame[0]).toBe(stored);
      expect(frame[2]).toBeLessThanOrEqual(frameSize);
      const bytes = decompress(compression, file.subarray(frame[0], frame[0] + frame[1]));
      expect(bytes.equals(stream.subarray(length, length + frame[2]))).toBe(true);
      expect(crc32(bytes)).toBe(frame[3]);
      stored += frame[1];
      length += frame[2];
    }
    expect(decodeTrailer(file.subarray(-512), file.length)?.offset).toBe(stored);
  });

  test(`a bundle with compression ${compression} begins a frame at each disk`, () => {
    const starts = manifest.members.map(({ name, offset, stored }) => {
      const frame = decompress(compression, file.subarray(offset, offset + stored));
      return [name, frame.subarray(0, 26).toString('latin1')];
    });
    expect(starts).toEqual([
      ['./vm.xml', expect.stringMatching(/^\.\/\0/)],
      ['./about.json', expect.stringMatching(/^\.\/about\.json\0/)],
      ['./backup.disk.0', expect.stringMatching(/^\.\/PaxHeaders\/backup\.disk\.0/)],
      ['./regions.disk.0', expect.stringMatching(/^\.\/regions\.disk\.0\0/)],
      ['./backup.disk.1', expect.stringMatching(/^\.\/backup\.disk\.1\0/)],
      ['./regions.disk.1', expect.stringMatching(/^\.\/regions\.disk\.1\0/)],
    ]);
  });

  test(`a bundle with compression ${compression} has the same checksum for the same content, raw or qcow2`, () => {
    const [raw, qcow2] = manifest.disks;
    const whole = new DiskChecksum(disks[0]!.virtualSize);
    whole.update(readFileSync(disks[0]!.path), 0);
    expect(raw).toMatchObject({ checksum: whole.digest(), dataBytes: 20 * MiB + 512 });
    const content = new DiskChecksum(disks[1]!.virtualSize);
    content.update(readFileSync(disks[1]!.path), 0);
    expect(qcow2!.checksum).toBe(content.digest());
    const member = execFileSync('tar', ['-xOf', path, './backup.disk.1'], { maxBuffer: 1 << 30 });
    expect(manifest.members.find(({ name }) => name === './backup.disk.1')?.size).toBe(
      member.length,
    );
  });

  test(`a bundle with compression ${compression} gives both disks back`, () => {
    tool('tar', '-xf', path, '-C', folder.path, './backup.disk.0', './backup.disk.1');
    tool('cmp', disks[0]!.path, join(folder.path, 'backup.disk.0'));
    const compare = ['compare', '-f', 'raw', '-F', 'qcow2', disks[1]!.path];
    tool('qemu-img', ...compare, join(folder.path, 'backup.disk.1'));
  });
});

const gunzip = [
  'import gzip,sys',
  'file = gzip.open(sys.argv[1])',
  'while file.read(1 << 20): pass',
].join('\n');
test.each([
  ['gzip -t', 'gzip', ['-t']],
  ['pigz -t', 'pigz', ['-t']],
  ['igzip -t', 'igzip', ['-t']],
  ['bsdtar -t', 'bsdtar', ['-tf']],
  ['python3 gzip', 'python3', ['-c', gunzip]],
])('%s tests a gzip bundle without a fault', (_, program, args) => {
  tool(program, ...args, join(folder.path, names.gzip));
});

test('zstd -t tests a zstd bundle without a fault', () => {
  tool('zstd', '-q', '-t', join(folder.path, names.zstd));
});

test('frames of zeros in a bundle are all stored alike and come back as zeros', async () => {
  const size = 5 * frameSize + 1000;
  const zeros = {
    path: join(folder.path, 'zeros'),
    virtualSize: size,
    // As a thick volume: everything is data, and nearly all of it zeros.
    extents: [{ offset: 0, length: size }],
    layout: { format: 'raw' },
  } as const;
  await makeDisk(zeros.path, size, [{ offset: 4 * frameSize + 100, length: 3000 }]);
  const path = join(folder.path, 'zeros.tar.gz');
  await writeBundle(path, await pickCompressor({ method: 'gzip' }), [zeros]);
  const file = readFileSync(path);
  const bytes = ([offset, stored]: Frame) => file.subarray(offset, offset + stored).toString('hex');
  const [, ...frames] = await withBundle(path, (bundle) => framesOf(bundle, 0));
  expect(bytes(frames[1]!)).toBe(bytes(frames[0]!));
  expect(bytes(frames[2]!)).toBe(bytes(frames[0]!));
  tool('tar', '-xzf', path, '-C', folder.path, './backup.disk.0');
  tool('cmp', zeros.path, join(folder.path, 'backup.disk.0'));
});

test.each(['gzip', 'none'] as const)(
  'pieces of all sizes are given back only when they are written (%s)',
  async (method) => {
    const lengths = [1024, 4, 900, 1, 1, 600, 128, 127, 3, 2048, 64, 500, 4096, 8];
    let offset = 0;
    const extents = Array.from({ length: 60 }, (_, n) => {
      const extent = { offset, length: lengths[n % lengths.length]! * 1024 };
      offset += extent.length + 512;
      return extent;
    });
    const disk = {
      path: join(folder.path, 'mixed'),
      virtualSize: offset,
      extents,
      layout: { format: 'raw' },
    } as const;
    await makeDisk(disk.path, offset, extents);
    const path = join(folder.path, `mixed.${method}`);
    await writeBundle(path, await pickCompressor({ method }), [disk]);
    tool('tar', '-xf', path, '-C', folder.path, './backup.disk.0');
    tool('cmp', disk.path, join(folder.path, 'backup.disk.0'));
  },
);
