import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import {
  compareDisks,
  MiB,
  oldFolder,
  openPath,
  scattered,
  vmXml,
  withBundle,
} from '../support/read-bundle.ts';
import { makeDisk, testFolder, tool, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
let old = '';

beforeAll(async () => {
  old = await oldFolder(at('old'));
});
afterAll(folder.remove);

const formats: readonly (readonly [string, readonly string[]])[] = [
  ['the old GNU format', ['--format=gnu', '-S']],
  ['PAX sparse format 0.0', ['--format=posix', '-S', '--sparse-version=0.0']],
  ['PAX sparse format 0.1', ['--format=posix', '-S', '--sparse-version=0.1']],
  ['PAX sparse format 1.0', ['--format=posix', '-S', '--sparse-version=1.0']],
  ['plain GNU members', ['--format=gnu']],
  ['plain PAX members', ['--format=posix']],
  ['plain ustar members', ['--format=ustar']],
];

describe.each(formats)('a bundle by GNU tar in %s', (name, options) => {
  const path = () => at(`${name.replaceAll(/\W/g, '-')}.tar.gz`);
  beforeAll(() => {
    tool('tar', '-cz', ...options, '-f', path(), '-C', old, '.');
  });

  test(`a bundle that GNU tar made in ${name} has its disks in order, without a manifest`, async () => {
    await withBundle(path(), (bundle) => {
      expect(bundle.disks.map(({ id, size, format }) => [id, size, format])).toEqual([
        [0, 8 * MiB, undefined],
        [1, 300_001, undefined],
        [10, 3 * MiB, undefined],
      ]);
      expect(bundle.manifest).toBeUndefined();
      return Promise.resolve();
    });
  });

  test(`a bundle that GNU tar made in ${name} has its vm.xml byte for byte`, async () => {
    await withBundle(path(), (bundle) => {
      expect(bundle.vmXml).toEqual(vmXml);
      return Promise.resolve();
    });
  });

  test(`a bundle that GNU tar made in ${name} gives back every disk as cmp sees it`, async () => {
    await withBundle(path(), (bundle) => compareDisks(bundle, old, folder.path));
  });

  test(`a bundle that GNU tar made in ${name} gives pieces that add up to what it announced`, async () => {
    await withBundle(path(), async ({ disks }) => {
      for (const disk of disks) {
        let total = 0;
        for await (const { data } of disk.pieces()) total += data.length;
        expect(total).toBe(disk.dataBytes);
      }
    });
  });

  test(`a bundle that GNU tar made in ${name} gives the head with its holes as zeros`, async () => {
    await withBundle(path(), async ({ disks }) => {
      const head = await disks[0]!.head();
      expect(head).toEqual(readFileSync(join(old, 'backup.disk.0')).subarray(0, 65536));
    });
  });
});

describe('holes', () => {
  test.each(formats.slice(0, 4))(
    'the holes of a disk are not in the pieces of %s',
    async (name) => {
      await withBundle(at(`${name.replaceAll(/\W/g, '-')}.tar.gz`), (bundle) => {
        const data = scattered.reduce((sum, { length }) => sum + length, 0);
        // GNU tar finds holes in units of the file system's blocks.
        expect(bundle.disks[0]!.dataBytes).toBeLessThan(data + scattered.length * 8192);
        expect(bundle.disks[2]!.dataBytes).toBe(0);
        return Promise.resolve();
      });
    },
  );
});

const packings: readonly (readonly [string, string])[] = [
  ['by gzip', 'tar -cS --format=gnu -C old . | gzip -1 > out'],
  ['by pigz', 'tar -cS --format=gnu -C old . | pigz > out'],
  ['by igzip', 'tar -cS --format=gnu -C old . | igzip > out'],
  ['by zstd', 'tar -cS --format=gnu -C old . | zstd -q > out'],
  ['not at all', 'tar -cSf out --format=gnu -C old .'],
  ['into several gzip members', '{ tar -cS -C old . | split -b 77777 --filter=gzip; } > out'],
  ['into several zstd frames', '{ tar -cS -C old . | split -b 77777 --filter="zstd -q"; } > out'],
  ['by bsdtar as PAX', 'bsdtar -cf out --format=pax -C old .'],
  ['by bsdtar as ustar', 'bsdtar -czf out --format=ustar -C old .'],
  ['by Python', 'cd old && python3 -m tarfile -c ../out.tgz . && mv ../out.tgz ../out'],
  [
    'without the folder',
    'cd old && tar -czSf ../out vm.xml backup.disk.0 backup.disk.1 backup.disk.10',
  ],
  [
    'with vm.xml last',
    'cd old && tar -czSf ../out ./backup.disk.10 ./backup.disk.1 ./backup.disk.0 ./vm.xml',
  ],
];

describe('a bundle without index', () => {
  test.each(packings)(
    'a bundle without index is read when compressed %s',
    async (_name, command) => {
      execFileSync('bash', ['-c', `set -o pipefail; ${command}`], { cwd: folder.path });
      await withBundle(at('out'), async (bundle) => {
        expect(bundle.indexed).toBe(false);
        expect(bundle.vmXml).toEqual(vmXml);
        await compareDisks(bundle, old, folder.path);
        // What vm.xml declares decides; no packer says it.
        expect(bundle.disks.map(({ format }) => format)).toEqual([undefined, undefined, undefined]);
      });
    },
  );

  test('a bundle without index that was written by onevmdump, but lost its manifest behind zeros, is damaged', async () => {
    await writeBundle(at('ours.tar'), await pickCompressor({ method: 'none' }), [
      { path: join(old, 'backup.disk.0'), virtualSize: 8 * MiB, extents: scattered, layout: { format: 'raw' } },
    ]);
    const tar = readFileSync(at('ours.tar'));
    tar.fill(0, tar.indexOf('./manifest.json\0'));
    writeFileSync(at('ours.tar'), tar);
    await expect(openPath(at('ours.tar'))).rejects.toThrow(
      'the manifest that onevmdump writes is missing; what comes before that is whole (disk 0)',
    );
  }); // prettier-ignore

  test('a bundle without index with more than 8 GiB of holes is read', async () => {
    const large = at('large');
    tool('mkdir', large);
    writeFileSync(join(large, 'vm.xml'), vmXml);
    const extents = [{ offset: 9 * 1024 * MiB, length: 8192 }];
    await makeDisk(join(large, 'backup.disk.0'), 20 * 1024 * MiB, extents);
    for (const format of ['gnu', 'posix']) {
      tool('tar', '-czS', `--format=${format}`, '-f', at('large.tar.gz'), '-C', large, '.');
      await withBundle(at('large.tar.gz'), async ({ disks }) => {
        expect(disks[0]!.size).toBe(20 * 1024 * MiB);
        const offsets: number[] = [];
        for await (const { offset } of disks[0]!.pieces()) offsets.push(offset);
        expect(offsets[0]).toBe(9 * 1024 * MiB);
      });
    }
  });
});

describe('a bundle of ours that lost its index', () => {
  const path = () => at('ours.tar.gz');
  beforeAll(async () => {
    await writeBundle(path(), await pickCompressor({ method: 'gzip' }), [
      {
        path: join(old, 'backup.disk.0'),
        virtualSize: 8 * MiB,
        extents: scattered,
        layout: { format: 'raw' },
      },
      {
        path: join(old, 'backup.disk.10'),
        virtualSize: 3 * MiB,
        extents: [],
        layout: { format: 'qcow2', clusterSize: 65536 },
      },
    ]);
  });

  test.each([
    ['compressed anew by gzip', 'gzip -dc ours.tar.gz | gzip > lost'],
    ['compressed anew by zstd', 'gzip -dc ours.tar.gz | zstd -q > lost'],
    ['uncompressed', 'gzip -dc ours.tar.gz > lost'],
    ['without its last 90 bytes', 'head -c -90 ours.tar.gz > lost'],
  ])(
    'a bundle that lost its index (%s) is read from the front, by its manifest',
    async (_name, command) => {
      execFileSync('bash', ['-c', command], { cwd: folder.path });
      await withBundle(at('lost'), async (bundle) => {
        expect(bundle.indexed).toBe(false);
        expect(bundle.disks.map(({ format }) => format)).toEqual(['raw', 'qcow2']);
        for await (const { data } of bundle.disks[1]!.pieces())
          expect(data.length).toBeGreaterThan(0);
        await compareDisks({ ...bundle, disks: [bundle.disks[0]!] }, old, folder.path);
      });
    },
  );

  test.each([
    ['in the same order', './vm.xml ./about.json ./backup.disk.0 ./regions.disk.0 ./backup.disk.1 ./regions.disk.1 ./manifest.json'],
    ['in another order', './manifest.json ./regions.disk.0 ./regions.disk.1 ./backup.disk.1 ./backup.disk.0 ./about.json ./vm.xml'],
    ['without its manifest', './vm.xml ./about.json ./backup.disk.0 ./regions.disk.0 ./backup.disk.1 ./regions.disk.1'],
  ])('a bundle of ours that GNU tar has packed anew, %s, is read', async (_name, members) => {
    const script = 'rm -rf x && mkdir x && tar -C x -xzf ours.tar.gz && tar -C x -czSf lost';
    execFileSync('bash', ['-c', `${script} ${members}`], { cwd: folder.path });
    await withBundle(at('lost'), async (bundle) => {
      expect(bundle.disks.map(({ format }) => format)).toEqual(['raw', 'qcow2']);
      for await (const { data } of bundle.disks[1]!.pieces()) expect(data.length).toBeGreaterThan(0);
      await compareDisks({ ...bundle, disks: [bundle.disks[0]!] }, old, folder.path);
    });
  }); // prettier-ignore

  test('a bundle of ours that was packed anew without its manifest is refused when a disk is not that of its table', async () => {
    const script =
      'rm -rf x && mkdir x && tar -C x -xzf ours.tar.gz && printf X | dd of=x/backup.disk.0 bs=1 seek=70000 conv=notrunc status=none && tar -C x -czSf lost';
    const members = './vm.xml ./about.json ./backup.disk.0 ./regions.disk.0';
    execFileSync('bash', ['-c', `${script} ${members}`], { cwd: folder.path });
    await withBundle(at('lost'), async ({ disks }) => {
      const read = async () => {
        for await (const { data } of disks[0]!.pieces()) expect(data.length).toBeGreaterThan(0);
      };
      await expect(read()).rejects.toThrow('says something else about a region');
    });
  });

  test('a bundle that lost its index is refused when its vm.xml is not the one of its manifest', async () => {
    execFileSync('bash', ['-c', 'gzip -dc ours.tar.gz > lost'], { cwd: folder.path });
    const tar = readFileSync(at('lost'));
    tar.write('8', tar.indexOf('<ID>7') + 4);
    writeFileSync(at('lost'), tar);
    await expect(openPath(at('lost'))).rejects.toThrow(
      'vm.xml is not the one that its manifest was written for',
    );
  });

  test('a bundle that lost its index is refused when a disk is not the one of its manifest', async () => {
    execFileSync('bash', ['-c', 'gzip -dc ours.tar.gz > lost'], { cwd: folder.path });
    const tar = readFileSync(at('lost'));
    // The last byte of the first disk's data: before the next member's header.
    const end = tar.indexOf('./regions.disk.0\0');
    tar[end - 4096] = tar[end - 4096]! ^ 1;
    writeFileSync(at('lost'), tar);
    const bundle = await openPath(at('lost'));
    await expect(
      (async () => {
        for await (const { data } of bundle.disks[0]!.pieces())
          expect(data.length).toBeGreaterThan(0);
      })(),
    ).rejects.toThrow(/disk 0: its checksum is not that of the manifest/);
    await bundle.close();
  });
});

test('a cut bundle names the byte where it ends', async () => {
  execFileSync('bash', ['-c', 'tar -czSf whole -C old . && head -c 500000 whole > cut'], {
    cwd: folder.path,
  });
  expect(statSync(at('cut')).size).toBe(500_000);
  await expect(openPath(at('cut'))).rejects.toThrow(
    /cut: .*near byte 500000: unexpected end of file/,
  );
});
