import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OnevmdumpError, UnsupportedError } from '../../lib/report/errors.ts';
import { headerBytes, readImageLayer } from '../../lib/qcow2/image-layer.ts';
import { inFolder } from '../support/nbd-servers.ts';

/** The head of an image that qemu-img made. */
function imageHead(options: readonly string[], size = '20M'): Promise<Buffer> {
  return inFolder((folder) => {
    const path = join(folder, 'image');
    execFileSync('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', ...options, path, size]);
    return Promise.resolve(readFileSync(path).subarray(0, headerBytes));
  });
}

/** A copy with bytes replaced. */
function patched(head: Buffer, at: number, bytes: readonly number[]): Buffer {
  const copy = Buffer.from(head);
  Buffer.from(bytes).copy(copy, at);
  return copy;
}

const parse = (head: Buffer): unknown => readImageLayer(head, 'the file');

describe('a header that qemu-img wrote', () => {
  test.each<[string, string[], number]>([
    ['the usual', [], 65536],
    ['version 2', ['-o', 'compat=0.10'], 65536],
    ['512-byte clusters', ['-o', 'cluster_size=512'], 512],
    ['2 MiB clusters', ['-o', 'cluster_size=2M'], 2 * 1024 * 1024],
    ['extended L2 entries', ['-o', 'extended_l2=on'], 65536],
    ['zstd', ['-o', 'compression_type=zstd'], 65536],
    ['lazy refcounts', ['-o', 'lazy_refcounts=on'], 65536],
  ])('a qcow2 header that qemu-img wrote is understood: %s', async (_, options, clusterSize) => {
    expect(parse(await imageHead(options))).toMatchObject({
      header: { clusterSize },
      virtualSize: 20 * 1024 * 1024,
      backing: undefined,
    });
  });

  test.each<[string, string[]]>([
    ['version 3', []],
    ['version 2', ['-o', 'compat=0.10']],
    ['512-byte clusters', ['-o', 'cluster_size=512']],
  ])(
    'a qcow2 header that qemu-img wrote names its backing file and its format: %s',
    async (_, options) => {
      const head = await imageHead(['-b', '../bäse image', '-F', 'raw', ...options]);
      expect(parse(head)).toMatchObject({ backing: { name: '../bäse image', format: 'raw' } });
    },
  );

  test('a qcow2 header that qemu-img wrote with an external data file is refused', async () => {
    await inFolder(async (folder) => {
      const head = await imageHead(['-o', `data_file=${join(folder, 'data')}`]);
      expect(() => parse(head)).toThrow(UnsupportedError);
      expect(() => parse(head)).toThrow('the file keeps its data in an external file');
    });
  });

  test.each([1, 2, 99])(
    'a qcow2 header that qemu-img wrote with encryption method %d is refused',
    async (method) => {
      const head = patched(await imageHead([]), 32, [0, 0, 0, method]);
      expect(() => parse(head)).toThrow('the file is encrypted');
    },
  );
});

describe('a hostile header', () => {
  test.each<[string, number, number[], string | RegExp]>([
    ['without magic', 0, [0], 'is not a qcow2 file'],
    ['of version 1', 4, [0, 0, 0, 1], 'version 1'],
    ['with unknown features', 72, [0, 0, 0, 0, 0, 0, 0, 32], 'features that this tool does not'],
    ['with unknown features far up', 72, [128], 'features that this tool does not'],
    ['marked as corrupt', 79, [2], 'marked as corrupt'],
    ['with a data file', 79, [4], 'external file'],
    ['with clusters of 256 bytes', 20, [0, 0, 0, 8], 'cluster size is out of range'],
    ['with clusters of 4 MiB', 20, [0, 0, 0, 22], 'cluster size is out of range'],
    ['of 8 EiB', 24, [255], 'out of range'],
    ['with a header length of 4 GiB', 100, [255, 255, 255, 248], 'damaged'],
    ['with a header length of 0', 100, [0, 0, 0, 0], 'damaged'],
    ['with an odd header length', 103, [105], 'damaged'],
    ['with an endless extension', 112, [1, 2, 3, 4, 255, 255, 255, 255], 'an extension'],
    ['with a backing name far away', 8, [0, 0, 1, 0], 'damaged'],
    ['with a backing name inside the header', 8, [0, 0, 0, 0, 0, 0, 0, 80], 'damaged'],
    ['with a backing name of 1024 bytes', 18, [4, 0], 'damaged'],
    ['with a NUL in the backing name', 512, [0], 'damaged'],
    ['with broken UTF-8 in the backing name', 512, [255], 'damaged'],
  ])('a hostile qcow2 header with %s is refused', async (_, at, bytes, message) => {
    const head = await imageHead(['-b', 'base', '-F', 'raw']);
    const nameAt = Number(head.readBigUInt64BE(8));
    const bad = patched(head, at === 512 ? nameAt : at, bytes);
    expect(() => parse(bad)).toThrow(OnevmdumpError);
    expect(() => parse(bad)).toThrow(message);
  });

  test('a hostile qcow2 header cut short anywhere is refused and never misread', async () => {
    const head = await imageHead(['-b', 'base', '-F', 'raw']);
    const end = Number(head.readBigUInt64BE(8)) + 4;
    for (let length = 0; length < end; length++) {
      expect(() => parse(head.subarray(0, length))).toThrow(OnevmdumpError);
    }
  });

  test('a hostile qcow2 header of any bytes is understood or refused, and nothing else happens', async () => {
    const head = await imageHead(['-b', 'base', '-F', 'raw']);
    const change = fc.tuple(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const bad = Buffer.from(head.subarray(0, 4096));
        for (const [at, byte] of changes) bad[at] = byte;
        try {
          const { header, virtualSize, backing } = readImageLayer(bad, 'the file');
          expect(header.clusterSize).toBeGreaterThanOrEqual(512);
          expect(Number.isSafeInteger(virtualSize)).toBe(true);
          if (backing) expect(backing.name).not.toMatch(/\p{Cc}/u);
        } catch (error) {
          expect(error).toBeInstanceOf(OnevmdumpError);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

test('a size in a qcow2 header that is no multiple of 512 is cut as QEMU cuts it', async () => {
  const head = patched(await imageHead([]), 24, [0, 0, 0, 0, 0, 0, 4, 255]);
  expect(parse(head)).toMatchObject({ virtualSize: 1024 });
});
