import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BundleDisk } from '../../lib/bundle/read/bundle.ts';
import { openFileSource } from '../../lib/bundle/location/file-source.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import {
  extract,
  framesOf,
  memorySource,
  MiB,
  openPath,
  scattered,
  timesOpen,
  withBundle,
} from '../support/read-bundle.ts';
import { makeDisk, noLog, testFolder, tool, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
const large = [{ offset: 3 * MiB, length: 45 * MiB }];

beforeAll(async () => {
  await makeDisk(at('0'), 8 * MiB, scattered);
  await makeDisk(at('1'), 60 * MiB, large);
  await makeDisk(at('3'), 8 * MiB, scattered);
});
afterAll(folder.remove);

/** The four disks: 0 raw, 1 raw with several frames, 2 empty, 3 qcow2. */
async function write(path: string, method: 'gzip' | 'zstd' | 'none') {
  await writeBundle(path, await pickCompressor({ method }), [
    { path: at('0'), virtualSize: 8 * MiB, extents: scattered, layout: { format: 'raw' } },
    { path: at('1'), virtualSize: 60 * MiB, extents: large, layout: { format: 'raw' } },
    { path: at('0'), virtualSize: 0, extents: [], layout: { format: 'raw' } },
    {
      path: at('3'),
      virtualSize: 8 * MiB,
      extents: scattered,
      layout: { format: 'qcow2', clusterSize: 65536 },
    },
  ]);
}

async function drain(disk: BundleDisk): Promise<number> {
  let total = 0;
  for await (const { data } of disk.pieces()) total += data.length;
  return total;
}

describe.each(['gzip', 'zstd', 'none'] as const)('a bundle of ours with %s', (method) => {
  const path = at(`bundle.${method}`);
  beforeAll(() => write(path, method));

  test(`a bundle that onevmdump wrote with ${method} is opened by its index`, async () => {
    await withBundle(path, (bundle) => {
      expect(bundle.indexed).toBe(true);
      expect(bundle.compression).toBe(method);
      expect(bundle.manifest?.vm.name).toBe('test');
      expect(bundle.vmXml.toString()).toBe('<VM><ID>7</ID></VM>\n');
      expect(bundle.disks.map(({ id, size, format }) => [id, size, format])).toEqual([
        [0, 8 * MiB, 'raw'],
        [1, 60 * MiB, 'raw'],
        [2, 0, 'raw'],
        [3, expect.any(Number), 'qcow2'],
      ]);
      return Promise.resolve();
    });
  });

  test(`a bundle that onevmdump wrote with ${method} is opened by reading a few kilobytes`, async () => {
    const { source, counts } = memorySource(readFileSync(path));
    await openBundle(source, { log: noLog });
    expect(counts.bytes).toBeLessThan(16 * 1024);
  });

  test(`a bundle that onevmdump wrote with ${method} gives back raw disks as cmp sees it`, async () => {
    await withBundle(path, async ({ disks }) => {
      for (const id of [0, 1]) {
        await extract(disks[id]!, at('out'));
        tool('cmp', at('out'), at(String(id)));
      }
      expect(await drain(disks[2]!)).toBe(0);
    });
  });

  test(`a bundle that onevmdump wrote with ${method} gives back a qcow2 disk as qemu-img sees it`, async () => {
    await withBundle(path, async ({ disks }) => {
      await extract(disks[3]!, at('out'));
      tool('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', at('out'), at('3'));
      tool('qemu-img', 'check', '-f', 'qcow2', at('out'));
    });
  });

  test(`a bundle that onevmdump wrote with ${method} reads no more of the file than the disk that is asked for`, async () => {
    const bytes = readFileSync(path);
    const { source, counts } = memorySource(bytes);
    const { disks } = await openBundle(source, { log: noLog });
    await drain(disks[0]!);
    expect(counts.bytes).toBeLessThan(4 * MiB);
    expect(bytes.length).toBeGreaterThan(45 * MiB);
  });

  test(`a bundle that onevmdump wrote with ${method} gives pieces of at most 1 MiB that add up to what it announced`, async () => {
    await withBundle(path, async ({ disks }) => {
      for (const disk of disks) {
        let total = 0;
        let end = 0;
        for await (const { offset, data } of disk.pieces()) {
          expect(data.length).toBeLessThanOrEqual(MiB);
          expect(offset).toBeGreaterThanOrEqual(end);
          end = offset + data.length;
          total += data.length;
        }
        expect(total).toBe(disk.dataBytes);
      }
    });
  });

  test(`a bundle that onevmdump wrote with ${method} gives the heads of its disks`, async () => {
    await withBundle(path, async ({ disks }) => {
      expect(await disks[0]!.head()).toEqual(readFileSync(at('0')).subarray(0, 65536));
      expect(await disks[1]!.head()).toEqual(Buffer.alloc(65536));
      expect(await disks[2]!.head()).toEqual(Buffer.alloc(0));
      expect((await disks[3]!.head()).toString('latin1', 0, 4)).toBe('QFI\xfb');
    });
  });

  test(`a bundle that onevmdump wrote with ${method} can be read by two passes at the same time`, async () => {
    await withBundle(path, async ({ disks }) => {
      const totals = await Promise.all([drain(disks[1]!), drain(disks[1]!), drain(disks[0]!)]);
      expect(totals).toEqual([disks[1]!.dataBytes, disks[1]!.dataBytes, disks[0]!.dataBytes]);
    });
  });

  test(`a bundle that onevmdump wrote with ${method} leaves no process and no open file when a pass is given up`, async () => {
    for (let round = 0; round < 10; round++) {
      const bundle = await openPath(path);
      for await (const { offset } of bundle.disks[1]!.pieces()) {
        if (offset > 20 * MiB) break;
      }
      await bundle.close();
      expect(children()).not.toContain('zstd');
    }
    expect(timesOpen(path)).toBe(0);
  });

  test(`a bundle that onevmdump wrote with ${method} stops with the reason of the signal`, async () => {
    const stop = new AbortController();
    const bundle = await openBundle(await openFileSource(path), {
      log: noLog,
      signal: stop.signal,
    });
    const reason = new Error('enough');
    await expect(
      (async () => {
        for await (const { offset } of bundle.disks[1]!.pieces()) {
          if (offset > 10 * MiB) stop.abort(reason);
        }
      })(),
    ).rejects.toBe(reason);
    await bundle.close();
    expect(children()).not.toContain('zstd');
  });

  test(`a bundle that onevmdump wrote with ${method} names disk, frame and byte of a damage`, async () => {
    const bytes = readFileSync(path);
    const { source } = memorySource(bytes, 'damaged');
    const bundle = await openBundle(source, { log: noLog });
    const [offset, stored] = (await framesOf(bundle, 1))[1]!;
    bytes[offset + stored - 1000] = bytes[offset + stored - 1000]! ^ 0x10;
    await expect(drain(bundle.disks[1]!)).rejects.toThrow(
      // One process decompresses all zstd frames and says only at the end that one was damaged.
      method === 'zstd'
        ? /^bundle damaged: disk 1, frame [01] at byte \d+: /
        : new RegExp(`^bundle damaged: disk 1, frame 1 at byte ${offset}: `),
    );
  });
});

describe('a damaged gzip frame that is read ahead', () => {
  const path = at('ahead.gzip');
  beforeAll(() => write(path, 'gzip'));

  test.each([
    ['with a header that is none', 0],
    ['with damaged data', 15],
  ])(
    'a damaged gzip frame that is read ahead (%s) is reported when its turn comes, not by an uncaught error',
    async (_name, place) => {
      const bytes = readFileSync(path);
      const { source } = memorySource(bytes, 'damaged');
      const bundle = await openBundle(source, { log: noLog });
      const [offset] = (await framesOf(bundle, 1))[1]!;
      bytes.fill(0xff, offset + place, offset + place + 20);
      const slowly = async () => {
        for await (const { offset: end } of bundle.disks[1]!.pieces()) {
          // The next frame fails while this one is still being taken.
          if (end < 6 * MiB) await new Promise((resolve) => setTimeout(resolve, 20));
        }
      };
      await expect(slowly()).rejects.toThrow(`disk 1, frame 1 at byte ${offset}: `);
    },
  );

  test('a damaged gzip frame that is read ahead ends the command with exit code 5 and no stack', async () => {
    const bytes = readFileSync(path);
    const frames = await withBundle(path, (bundle) => framesOf(bundle, 1));
    for (const [offset] of frames.slice(1)) bytes.fill(0xff, offset, offset + 20);
    writeFileSync(at('damaged.gzip'), bytes);
    const { status, stderr } = spawnSync(
      new URL('../../dist/bin/onevmdump', import.meta.url).pathname,
      ['verify', at('damaged.gzip')],
      { encoding: 'utf8' },
    );
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(stderr.trim().split('\n').at(-1)).toMatch(/disk 1, frame 1 at byte /);
    expect(status).toBe(5);
  });
});

/** The programs this process has started and that still run. */
function children(): string {
  return execFileSync('sh', ['-c', `ps -o comm= --ppid ${process.pid} || true`]).toString();
}

describe('a file that is no bundle', () => {
  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['a text', Buffer.from('hello\n'.repeat(1000))],
    ['zeros', Buffer.alloc(100_000)],
    ['a compressed text', execFileSync('gzip', { input: 'hello\n'.repeat(1000) })],
    ['the start of a gzip file', Buffer.from('1f8b', 'hex')],
  ])('%s is reported as no onevmdump bundle', async (_name, bytes) => {
    const { source, counts } = memorySource(bytes, 'file');
    await expect(openBundle(source, { log: noLog })).rejects.toThrow(
      /^bundle file: it is not an onevmdump bundle/,
    );
    expect(counts.closed).toBe(true);
  });

  test('an ISO image is reported as no onevmdump bundle', async () => {
    tool('xorriso', '-as', 'mkisofs', '-quiet', '-o', at('iso'), at('0'));
    await expect(openPath(at('iso'))).rejects.toThrow(/it is not an onevmdump bundle/);
  });

  test('a folder, a FIFO and a missing file are refused as bundles before they are read', async () => {
    tool('mkfifo', at('fifo'));
    await expect(openFileSource(at('fifo'))).rejects.toThrow(/fifo: it is not a regular file/);
    await expect(openFileSource(folder.path)).rejects.toThrow(/it is not a regular file/);
    await expect(openFileSource(at('nothing'))).rejects.toThrow(/cannot open bundle .*nothing/);
  });
});
