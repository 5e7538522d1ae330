// Raw files read directly. The same files behind qemu-nbd are the judge: extents and bytes must be the same.
import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import { Extents } from '../../lib/read/extents.ts';
import { openRawReader, type RawReaderOptions } from '../../lib/read/raw-reader.ts';
import { InterruptedError } from '../../lib/report/errors.ts';
import { openImage } from '../../lib/storage/open-image.ts';
import { serveImage } from '../../lib/storage/image-server.ts';
import { hasLoopDevices, withLoopDevice } from '../support/loop-device.ts';
import { collect, inFolder, wholeDisk } from '../support/nbd-servers.ts';
import { inWorld, MiB, rawFile, type World } from '../support/storage-world.ts';

const label = 'disk 0 of VM 7';

/** A reader of all bytes of a file, for as long as `body` runs. */
async function reading(
  path: string,
  virtualSize: number,
  body: (reader: DiskReader) => Promise<void>,
  options: Partial<RawReaderOptions> = {},
): Promise<void> {
  const reader = await openRawReader({
    ...{ path, isDevice: false, virtualSize, label },
    findExtents: () => Promise.resolve(Extents.whole(virtualSize)),
    signal: new AbortController().signal,
    ...options,
  });
  try {
    await body(reader);
  } finally {
    await reader.close();
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What a disk is by one of the two ways. */
async function by(
  way: typeof openImage,
  world: World,
  path: string,
  virtualSize: number,
  facts: { readonly device?: true } = {},
) {
  const image = { node: { driver: 'raw', path, ...facts } as const, virtualSize };
  const reader = await way(image, label, world.run);
  try {
    const extents = [...(await reader.extents())];
    const scattered = [
      { offset: 1, length: 2 },
      { offset: 4, length: 1 },
      { offset: virtualSize - 1, length: 1 },
    ].filter(({ offset }) => offset > 4 || virtualSize > 10);
    return {
      extents,
      sha256: sha256(await wholeDisk(reader)),
      scattered: virtualSize > 0 ? (await collect(reader, scattered)).toString('hex') : '',
    };
  } finally {
    await reader.close();
  }
}

describe('a raw file', () => {
  test.each<[what: string, size: number, data: readonly (readonly [number, number])[]]>([
    ['of 0 bytes', 0, []],
    ['of 1 byte', 1, [[0, 1]]],
    ['of 511 bytes', 511, [[0, 511]]],
    ['of 5 MiB less a byte', 5 * MiB - 1, [[0, 5 * MiB - 1]]],
    ['without data', 9 * MiB, []],
    ['that ends in a hole, at an odd size', 9 * MiB + 77, [[4096, 4096]]],
    [
      'with data at both ends',
      64 * MiB,
      [
        [0, 4096],
        [5 * MiB - 8192, 3 * MiB],
        [64 * MiB - 4096, 4096],
      ],
    ],
    ['of many extents', 64 * MiB, Array.from({ length: 2000 }, (_, n) => [n * 32_768, 4096])],
  ])(
    'a raw file %s has the same extents and bytes when it is read directly as behind qemu-nbd',
    (_, size, data) =>
      inWorld(async (world) => {
        const path = join(world.outside, 'disk');
        await rawFile(path, size, data);
        const direct = await by(openImage, world, path, size);
        expect(world.commands).toEqual([]);
        expect(direct).toEqual(await by(serveImage, world, path, size));
        expect(direct.sha256).toBe(sha256(await readFile(path)));
      }),
  );

  test('any extents of a raw file are read in order, also where the file has a hole', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      const size = 5 * MiB + 123;
      await rawFile(path, size, [
        [0, MiB],
        [3 * MiB - 17, MiB],
      ]);
      const content = await readFile(path);
      const parts = fc.array(fc.tuple(fc.nat(300_000), fc.integer({ min: 1, max: 2 * MiB })), {
        maxLength: 30,
      });
      await fc.assert(
        fc.asyncProperty(parts, async (pairs) => {
          const extents: { offset: number; length: number }[] = [];
          let end = 0;
          for (const [gap, length] of pairs) {
            const offset = end + gap;
            if (offset + length > size) continue;
            extents.push({ offset, length });
            end = offset + length;
          }
          const expected = extents.map(({ offset, length }) =>
            content.subarray(offset, offset + length),
          );
          await reading(path, size, async (reader) => {
            const found = await collect(reader, extents);
            expect(found.equals(Buffer.concat(expected))).toBe(true);
          });
        }),
        { numRuns: 40 },
      );
    }));

  test('a raw file is read into the memory of pieces that were given back, and never changes one that was not', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      writeFileSync(path, randomBytes(40 * MiB));
      const content = await readFile(path);
      await reading(path, 40 * MiB, async (reader) => {
        const memories = new Set<ArrayBufferLike>();
        const kept: { readonly piece: Uint8Array; readonly at: number }[] = [];
        let at = 0;
        for await (const piece of reader.read([{ offset: 0, length: 40 * MiB }])) {
          memories.add(piece.buffer);
          const isSame = content.subarray(at, at + piece.length).equals(piece);
          expect(isSame).toBe(true);
          if (at % (8 * MiB) === 0) kept.push({ piece, at });
          else reader.recycle?.(piece);
          at += piece.length;
        }
        expect(memories.size).toBeLessThan(15);
        for (const one of kept) {
          const expected = content.subarray(one.at, one.at + one.piece.length);
          expect(expected.equals(one.piece)).toBe(true);
        }
      });
    }));
});

describe('a raw file that cannot be trusted', () => {
  test('a raw file that is cut while it is read is an error that says where it ends, never zeros', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      const content = randomBytes(64 * MiB);
      writeFileSync(path, content);
      await reading(path, 64 * MiB, async (reader) => {
        let read = 0;
        const attempt = (async () => {
          for await (const piece of reader.read([{ offset: 0, length: 64 * MiB }])) {
            if (read === 0) truncateSync(path, 40 * MiB + 100);
            expect(content.subarray(read, read + piece.length).equals(piece)).toBe(true);
            read += piece.length;
          }
        })();
        await expect(attempt).rejects.toThrow(
          `cannot read disk 0 of VM 7: it ends at offset ${40 * MiB + 100}; it has become shorter while it was being read`,
        );
        expect(read).toBe(40 * MiB);
      });
    }));

  test.each([
    ['shorter', -1],
    ['longer', 512],
  ])('a raw file that has become %s before it is opened is refused', (_, by_) =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      writeFileSync(path, randomBytes(MiB));
      await expect(reading(path, MiB - by_, () => Promise.resolve())).rejects.toThrow(
        `cannot read disk 0 of VM 7 (${path}): it has ${MiB} bytes instead of ${MiB - by_}; has it been resized meanwhile?`,
      );
    }),
  );

  test('what is not a regular file is refused at once: a folder, a FIFO, a device, a link, and nothing', () =>
    inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      mkdirSync(at('folder'));
      execFileSync('mkfifo', [at('fifo')]);
      writeFileSync(at('file'), 'x');
      symlinkSync('file', at('link'));
      for (const [path, why] of [
        [at('folder'), 'it is not a regular file'],
        [at('fifo'), 'it is not a regular file'],
        ['/dev/zero', 'it is not a regular file'],
        [at('link'), 'ELOOP'],
        [at('nothing'), 'ENOENT'],
      ] as const) {
        const opened = reading(path, 1, () => Promise.resolve());
        await expect(opened).rejects.toThrow(`cannot read disk 0 of VM 7 (${path}): ${why}`);
      }
    }));

  test('a raw file whose storage does not answer is an error after the time limit', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      writeFileSync(path, randomBytes(4 * MiB));
      const never = join(folder, 'never');
      execFileSync('mkfifo', [never]);
      const fifo = await open(never, 'r+');
      await reading(
        path,
        4 * MiB,
        async (reader) => {
          // All threads that read files wait until something is written to the FIFO.
          const waiting = [1, 2, 3, 4].map(() => fifo.read(Buffer.alloc(1), 0, 1));
          const attempt = collect(reader, [{ offset: 0, length: 4 * MiB }]);
          await expect(attempt).rejects.toThrow('cannot read disk 0 of VM 7: no answer for 0.05 s');
          writeSync(fifo.fd, 'xxxx');
          await Promise.all(waiting);
        },
        { stallMs: 50 },
      );
      await fifo.close();
    }));

  test('a raw file is no longer read once its run was interrupted', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      writeFileSync(path, randomBytes(64 * MiB));
      const abort = new AbortController();
      const body = async (reader: DiskReader): Promise<void> => {
        for await (const piece of reader.read([{ offset: 0, length: 64 * MiB }])) {
          if (piece.length > 0) abort.abort(new InterruptedError('SIGINT'));
        }
      };
      await expect(reading(path, 64 * MiB, body, { signal: abort.signal })).rejects.toThrow(
        new InterruptedError('SIGINT'),
      );
    }));
});

(hasLoopDevices ? describe : describe.skip)('a block device', () => {
  const device = { device: true } as const;

  test.each([
    ['of whole MiB', 8 * MiB],
    ['of an odd number of sectors', 5 * MiB + 7 * 512],
  ])(
    'a block device %s has the same extents and bytes when it is read directly as behind qemu-nbd',
    (_, size) =>
      inWorld(async (world) => {
        const file = join(world.outside, 'behind');
        await rawFile(file, size, [
          [4096, MiB],
          [size - 512, 512],
        ]);
        const content = await readFile(file);
        await withLoopDevice(file, size, async (path) => {
          const link = join(world.outside, 'link');
          symlinkSync(path, link);
          const direct = await by(openImage, world, link, size, device);
          expect(world.commands.map(({ program }) => program)).not.toContain('qemu-nbd');
          expect(direct).toEqual(await by(serveImage, world, link, size, device));
          expect(direct.sha256).toBe(sha256(content));
          expect(direct.extents).toEqual([{ offset: 0, length: size }]);
        });
      }),
  );

  test('a block device is read without the page cache, which may be older than what is stored', () =>
    inWorld(async (world) => {
      const file = join(world.outside, 'behind');
      await rawFile(file, 4 * MiB, [[0, 4 * MiB]]);
      await withLoopDevice(file, 4 * MiB, async (path) => {
        // Held open, or the kernel would forget what it has cached.
        const holder = await open(path, 'r');
        const cached = Buffer.alloc(4096);
        await holder.read(cached, 0, 4096, MiB);
        const changed = await open(file, 'r+');
        await changed.write(Buffer.alloc(4096, 'new'), 0, 4096, MiB);
        await changed.close();
        const stale = Buffer.alloc(4096);
        await holder.read(stale, 0, 4096, MiB);
        expect(stale.equals(cached)).toBe(true);
        const { sha256: read } = await by(openImage, world, path, 4 * MiB, device);
        expect(read).toBe(sha256(await readFile(file)));
        await holder.close();
      });
    }));

  test('a block device with blocks that cannot be read is an error that names the place, never zeros', () =>
    inWorld(async (world) => {
      const file = join(world.outside, 'behind');
      await rawFile(file, 8 * MiB, [[0, 8 * MiB]]);
      await withLoopDevice(file, 8 * MiB, async (path) => {
        truncateSync(file, 5 * MiB);
        await expect(by(openImage, world, path, 8 * MiB, device)).rejects.toThrow(
          /^cannot read disk 0 of VM 7: EIO.* at offset 5242880\)$/,
        );
      });
    }));

  test('a block device of another size than was found before is refused, and so is what is not a block device', () =>
    inWorld(async (world) => {
      const file = join(world.outside, 'behind');
      await withLoopDevice(file, 4 * MiB, async (path) => {
        await expect(by(openImage, world, path, 8 * MiB, device)).rejects.toThrow(
          `cannot read disk 0 of VM 7 (${path}): it has ${4 * MiB} bytes instead of ${8 * MiB}`,
        );
        await expect(by(openImage, world, file, 4 * MiB, device)).rejects.toThrow(
          'is not a block device',
        );
        await expect(
          reading(file, 4 * MiB, () => Promise.resolve(), { isDevice: true }),
        ).rejects.toThrow('it is not a block device');
      });
    }));

  test('more reads of a block device than there are buffers wait for one another', () =>
    inWorld(async (world) => {
      const file = join(world.outside, 'behind');
      await rawFile(file, 16 * MiB, [[0, 16 * MiB]]);
      const content = await readFile(file);
      await withLoopDevice(file, 16 * MiB, (path) =>
        reading(
          path,
          16 * MiB,
          async (reader) => {
            const extents = Array.from({ length: 100 }, (_, n) => ({
              offset: n * 163_840 + 13,
              length: 1000,
            }));
            const expected = extents.map(({ offset, length }) =>
              content.subarray(offset, offset + length),
            );
            expect((await collect(reader, extents)).equals(Buffer.concat(expected))).toBe(true);
          },
          { isDevice: true },
        ),
      );
    }));
});
