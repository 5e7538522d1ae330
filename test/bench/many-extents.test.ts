// The disk of many extents that exists nowhere: what GNU tar unpacks of its bundle is that disk.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillWith, indexOf, manyReader, startOf, type ManyDisk } from '../../bench/many-disk.ts';
import { runToEnd, sh } from '../support/shell.ts';

const program = new URL('../../dist/bench/many-extents', import.meta.url).pathname;
const GiB = 1024 ** 3;
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-many-test-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the disk of many extents', () => {
  test('the bundle of a disk of many extents has each extent at its place, and holes between them', async () => {
    const disk: ManyDisk = { virtualSize: 3 * GiB, extents: 700, extentSize: 8192 };
    const bundle = join(folder, 'many.tar.gz');
    const words = ['--extents', '700', '--extent-kib', '8', '--virtual-gib', '3'];
    const env = { ...process.env, ONEVMDUMP_STATE_DIR: folder, ONEVMDUMP_CONFIG: '/dev/null' };
    const { code, stderr } = await runToEnd(program, [...words, '--export', bundle], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await sh('tar', '-xzf', bundle, '-C', folder);

    const unpacked = join(folder, 'backup.disk.0');
    const expected = join(folder, 'expected');
    const file = await open(expected, 'w');
    await file.truncate(disk.virtualSize);
    const data = Buffer.alloc(disk.extentSize);
    for (let index = 0; index < disk.extents; index++) {
      fillWith(disk, index, data);
      await file.write(data, 0, data.length, startOf(disk, index));
    }
    await file.close();
    await sh('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', unpacked, expected);
    const map = JSON.parse(await sh('qemu-img', 'map', '--output=json', '-f', 'raw', unpacked)) as {
      data: boolean;
    }[];
    expect(map.filter((entry) => entry.data)).toHaveLength(700);
  });

  test('the restore of one region fails when the region is not what the disk has there', async () => {
    const words = (extents: number): string[] => [
      ...['--extents', String(extents), '--extent-kib', '8', '--virtual-gib', '1'],
    ];
    const bundle = join(folder, 'region.tar.gz');
    const env = { ...process.env, ONEVMDUMP_STATE_DIR: folder, ONEVMDUMP_CONFIG: '/dev/null' };
    const made = await runToEnd(program, [...words(5000), '--export', bundle], { env });
    expect({ code: made.code, stderr: made.stderr }).toEqual({ code: 0, stderr: '' });
    const right = await runToEnd(program, [...words(5000), '--region', bundle], { env });
    expect({ code: right.code, stderr: right.stderr }).toEqual({ code: 0, stderr: '' });
    const wrong = await runToEnd(program, [...words(4999), '--region', bundle], { env });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('is not that part of the disk');
  });

  test('a disk of 16 TiB with ten million extents has each extent at a place of its own', () => {
    const disk: ManyDisk = {
      virtualSize: 16 * 1024 * GiB,
      extents: 10_000_000,
      extentSize: 64 * 1024,
    };
    for (const index of [1, 2, 4_999_999, 5_000_000, 9_999_998, 9_999_999]) {
      expect(indexOf(disk, startOf(disk, index))).toBe(index);
      expect(indexOf(disk, startOf(disk, index) - 1)).toBe(index);
      expect(startOf(disk, index + 1) - startOf(disk, index)).toBeGreaterThan(disk.extentSize);
    }
    expect(startOf(disk, 9_999_999) + disk.extentSize).toBeLessThanOrEqual(disk.virtualSize);
  });

  test('a disk whose extents would touch is refused', () => {
    expect(() => manyReader({ virtualSize: GiB, extents: 20_000, extentSize: 65536 })).toThrow(
      /no holes between them/,
    );
  });

  test('the benchmark of many extents measures the export, the listing, the restore of one region and the verification', async () => {
    const json = join(folder, 'figures.json');
    const words = ['--extents', '500', '--virtual-gib', '64', '--dir', folder, '--json', json];
    const { code, stdout, stderr } = await runToEnd(program, words);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const { figures } = JSON.parse(await readFile(json, 'utf8')) as {
      figures: { name: string; seconds: number; peakMB: number }[];
    };
    expect(figures.map(({ name }) => name)).toEqual([
      'export',
      'show',
      'restore of one region',
      'verify',
    ]);
    for (const { seconds } of figures) expect(seconds).toBeGreaterThan(0);
    expect(stdout).toContain('500 extents of 64 KiB');
  });
});
