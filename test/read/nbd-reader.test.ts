import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError, InterruptedError } from '../../lib/report/errors.ts';
import {
  collect,
  inFolder,
  reading,
  wholeDisk,
  withNbdkit,
  withQemuNbd,
} from '../support/nbd-servers.ts';

const MiB = 1024 * 1024;

/** Random data at the given places of an otherwise empty file. */
async function sparseFile(
  path: string,
  size: number,
  data: readonly [number, number][],
): Promise<void> {
  const file = await open(path, 'w');
  for (const [offset, length] of data) await file.write(randomBytes(length), 0, length, offset);
  await file.truncate(size);
  await file.close();
}

describe('a raw file behind qemu-nbd', () => {
  test('of a raw file behind qemu-nbd its data is found and read, its holes are not', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      await sparseFile(path, 64 * MiB, [
        [0, 4096],
        [5 * MiB - 8192, 3 * MiB],
        [64 * MiB - 4096, 4096],
      ]);
      await withQemuNbd(['-f', 'raw', path], (socket) =>
        reading(socket, async (reader) => {
          expect(reader.virtualSize).toBe(64 * MiB);
          expect([...(await reader.extents())]).toEqual([
            { offset: 0, length: 4096 },
            { offset: 5 * MiB - 8192, length: 3 * MiB },
            { offset: 64 * MiB - 4096, length: 4096 },
          ]);
          expect((await wholeDisk(reader)).equals(await readFile(path))).toBe(true);
        }),
      );
    }));

  test.each([1, 511, 513, 1000, MiB + 1, 5 * MiB - 1])(
    'the size of %d bytes of a raw file stays as it is behind qemu-nbd',
    (size) =>
      inFolder(async (folder) => {
        const path = join(folder, 'disk');
        writeFileSync(path, randomBytes(size));
        await withQemuNbd(['-f', 'raw', path], (socket) =>
          reading(
            socket,
            async (reader) => {
              expect(reader.virtualSize).toBe(size);
              expect((await wholeDisk(reader)).equals(await readFile(path))).toBe(true);
            },
            { virtualSize: size },
          ),
        );
      }),
  );

  test('an empty disk behind qemu-nbd has no extents', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      await writeFile(path, '');
      await withQemuNbd(['-f', 'raw', path], (socket) =>
        reading(
          socket,
          async (reader) => {
            expect([...(await reader.extents())]).toEqual([]);
            expect((await collect(reader, [])).length).toBe(0);
          },
          { virtualSize: 0 },
        ),
      );
    }));

  test.each([4096 - 512, 4096 + 512])(
    'a disk of 4096 bytes is refused where %d are expected',
    (size) =>
      inFolder(async (folder) => {
        const path = join(folder, 'disk');
        await writeFile(path, '');
        truncateSync(path, 4096);
        await withQemuNbd(['-f', 'raw', path], async (socket) => {
          const attempt = reading(socket, () => Promise.resolve(), { virtualSize: size });
          await expect(attempt).rejects.toThrow(
            `it has ${size} bytes, but the NBD server offers 4096`,
          );
        });
      }),
  );

  test('50,000 small extents of a raw file are read quickly and completely', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      const block = randomBytes(4096);
      const content = Buffer.alloc(50_000 * 8192);
      for (let at = 0; at < content.length; at += 8192) block.copy(content, at);
      execFileSync(
        'dd',
        [`of=${path}`, 'bs=4096', 'iflag=fullblock', 'conv=sparse', 'status=none'],
        {
          input: content,
        },
      );
      truncateSync(path, content.length);
      await withQemuNbd(['-f', 'raw', path], (socket) =>
        reading(socket, async (reader) => {
          const extents = await reader.extents();
          expect(extents.length).toBe(50_000);
          const started = process.cpuUsage();
          expect((await wholeDisk(reader)).equals(content)).toBe(true);
          const { user, system } = process.cpuUsage(started);
          // Our own time: what else the machine does takes none of it.
          expect((user + system) / 1e6).toBeLessThan(100);
        }),
      );
    }));

  test('extents that are not those of the disk are read as well, holes as zeros', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      await sparseFile(path, 8 * MiB, [[3 * MiB, MiB]]);
      await withQemuNbd(['-f', 'raw', path], (socket) =>
        reading(socket, async (reader) => {
          const wanted = [
            { offset: 1, length: 3 },
            { offset: 3 * MiB - 7, length: 2 * MiB + 14 },
            { offset: 8 * MiB - 1, length: 1 },
          ];
          const file = await readFile(path);
          const expected = wanted.map((one) => file.subarray(one.offset, one.offset + one.length));
          expect((await collect(reader, wanted)).equals(Buffer.concat(expected))).toBe(true);
        }),
      );
    }));

  test('an NBD export that does not exist is refused by its name', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'disk');
      await writeFile(path, 'x');
      await withQemuNbd(['-f', 'raw', '-x', 'one', path], async (socket) => {
        const attempt = reading(socket, () => Promise.resolve(), { exportName: 'other' });
        await expect(attempt).rejects.toThrow(
          /cannot read disk 0 of VM 7: .*export "other": no such/,
        );
      });
    }));
});

describe('a qcow2 image behind qemu-nbd', () => {
  const variants: [string, string[]][] = [
    ['with the usual clusters', []],
    ['with clusters of 512 bytes', ['-o', 'cluster_size=512']],
    ['with clusters of 2 MiB', ['-o', 'cluster_size=2M']],
    ['with extended L2 entries', ['-o', 'extended_l2=on,cluster_size=128k']],
    ['with compressed clusters', ['-c']],
    ['with zstd-compressed clusters', ['-c', '-o', 'compression_type=zstd']],
    ['of version 2', ['-o', 'compat=0.10']],
  ];
  test.each(variants)(
    'a qcow2 image behind qemu-nbd (%s) has the bytes that qemu-img sees',
    (_, options) =>
      inFolder(async (folder) => {
        const raw = join(folder, 'raw');
        const image = join(folder, 'qcow2');
        await sparseFile(raw, 24 * MiB, [
          [0, MiB],
          [7 * MiB + 512, 12_800],
          [20 * MiB, 4 * MiB],
        ]);
        execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, image]);
        await withQemuNbd(['-f', 'qcow2', image], (socket) =>
          reading(socket, async (reader) => {
            const data = (await reader.extents()).dataBytes;
            expect(data).toBeLessThan(12 * MiB);
            expect((await wholeDisk(reader)).equals(await readFile(raw))).toBe(true);
          }),
        );
      }),
  );
});

describe('nbdkit', () => {
  const pattern = (size: number): Buffer => {
    const expected = Buffer.alloc(size);
    for (let at = 0; at + 8 <= size; at += 8) expected.writeBigUInt64BE(BigInt(at), at);
    return expected;
  };

  test.each<[string, string[], string[]?]>([
    ['structured replies', []],
    ['simple replies', ['--no-sr']],
    ['answers out of order', ['--filter=delay', '-t', '16'], ['rdelay=5ms']],
    ['large blocks', ['--filter=blocksize-policy'], ['blocksize-minimum=4096']],
    ['small requests only', ['--filter=blocksize-policy'], ['blocksize-maximum=65536']],
    ['no block status', ['--filter=noextents']],
  ])('nbdkit with %s gives the bytes of its pattern', (_, options, parameters = []) =>
    withNbdkit([...options, 'pattern', `${5 * MiB}`, ...parameters], (socket) =>
      reading(socket, async (reader) => {
        expect([...(await reader.extents())]).toEqual([{ offset: 0, length: 5 * MiB }]);
        const expected = pattern(5 * MiB);
        expect((await wholeDisk(reader)).equals(expected)).toBe(true);
        const odd = [
          { offset: 3, length: 70_000 },
          { offset: 2 * MiB + 1, length: 4095 },
        ];
        const parts = odd.map((one) => expected.subarray(one.offset, one.offset + one.length));
        expect((await collect(reader, odd)).equals(Buffer.concat(parts))).toBe(true);
      }),
    ),
  );

  test.each([
    ['no block sizes', []],
    ['blocks of 4096 bytes', ['blocksize-minimum=4096']],
  ])('nbdkit with %s gives the bytes of any extents, in order', (_, parameters) =>
    withNbdkit(['--filter=blocksize-policy', 'pattern', `${3 * MiB}`, ...parameters], (socket) =>
      reading(socket, async (reader) => {
        const all = pattern(3 * MiB);
        const edge = fc.oneof(
          fc.nat(3 * MiB),
          fc.integer({ min: 2 * MiB - 40_000, max: 2 * MiB + 40_000 }),
        );
        const edges = fc.uniqueArray(edge, { minLength: 2, maxLength: 30 });
        await fc.assert(
          fc.asyncProperty(edges, async (unsorted) => {
            const sorted = [...unsorted].sort((one, other) => one - other);
            const wanted = sorted.flatMap((offset, at) => {
              const end = sorted[at + 1];
              return at % 2 === 1 || end === undefined ? [] : [{ offset, length: end - offset }];
            });
            const parts = wanted.map((one) => all.subarray(one.offset, one.offset + one.length));
            expect((await collect(reader, wanted)).equals(Buffer.concat(parts))).toBe(true);
          }),
          { numRuns: 40 },
        );
      }),
    ),
  );

  test('a disk of zeros that nbdkit serves has no data, whatever its size', () =>
    withNbdkit(['memory', `${2 ** 44}`], (socket) =>
      reading(socket, async (reader) => {
        expect(reader.virtualSize).toBe(2 ** 44);
        expect([...(await reader.extents())]).toEqual([]);
      }),
    ));

  test('a sparse disk of 1 TiB that nbdkit serves is searched and read in part', () =>
    withNbdkit(['data', 'data=@1048576 1 2 3 @1099511627000 7*512', 'size=1T'], (socket) =>
      reading(socket, async (reader) => {
        const extents = await reader.extents();
        const bytes = await collect(reader, extents);
        expect(bytes.filter((byte) => byte !== 0).length).toBe(515);
        expect(bytes.length).toBeLessThan(MiB);
      }),
    ));

  test('random data with holes that nbdkit serves is the same through qemu-img', () =>
    inFolder(async (folder) => {
      const copy = join(folder, 'copy');
      const server = ['sparse-random', '32M', 'seed=1', 'percent=30', 'runlength=102400'];
      await withNbdkit(server, async (socket) => {
        execFileSync('qemu-img', ['convert', '-O', 'raw', `nbd+unix:///?socket=${socket}`, copy]);
        await reading(socket, async (reader) => {
          expect((await wholeDisk(reader)).equals(await readFile(copy))).toBe(true);
        });
      });
    }));

  test('an unreadable block behind nbdkit is an error that names disk and offset', () =>
    withNbdkit(
      ['--filter=error', 'pattern', `${8 * MiB}`, 'error-pread=EIO', 'error-pread-rate=100%'],
      (socket) =>
        reading(socket, async (reader) => {
          const attempt = collect(reader, [{ offset: 2 * MiB, length: 4 * MiB }]);
          await expect(attempt).rejects.toThrow(
            /^cannot read disk 0 of VM 7 at offset 2097152: Input\/output error \(EIO\)/,
          );
        }),
    ));

  test('a failing search for data behind nbdkit is an error, and no guess', () =>
    withNbdkit(
      ['--filter=error', 'memory', '8M', 'error-extents=EIO', 'error-extents-rate=100%'],
      (socket) =>
        reading(socket, async (reader) => {
          await expect(reader.extents()).rejects.toThrow(
            /cannot find the data of disk 0 of VM 7.*EIO/,
          );
        }),
    ));

  test('an NBD server that is killed in the middle is an error for every request', () =>
    withNbdkit(['--filter=rate', 'pattern', '64M', 'rate=80M'], (socket, pid) =>
      reading(socket, async (reader) => {
        const attempt = (async () => {
          let pieces = 0;
          for await (const piece of reader.read([{ offset: 0, length: 64 * MiB }])) {
            if (piece.length > 0 && ++pieces === 2) process.kill(pid, 'SIGKILL');
          }
        })();
        await expect(attempt).rejects.toThrow(/NBD server at .*: the connection was lost/);
        await expect(collect(reader, [{ offset: 0, length: 1 }])).rejects.toThrow(FailedError);
      }),
    ));

  test('an NBD server that falls silent is an error instead of a hang', () =>
    withNbdkit(['--filter=delay', 'pattern', '1M', 'rdelay=30'], (socket) =>
      reading(
        socket,
        async (reader) => {
          await reader.extents();
          // Idle for longer than the limit: not the server's fault, and no error.
          await sleep(500);
          const attempt = collect(reader, [{ offset: 0, length: 512 }]);
          await expect(attempt).rejects.toThrow('no answer for 0.3 s');
        },
        { stallMs: 300 },
      ),
    ));

  test('an aborted signal ends the reading of an NBD disk with its reason', () =>
    withNbdkit(['--filter=delay', 'pattern', '1M', 'rdelay=30'], (socket) => {
      const abort = new AbortController();
      return reading(
        socket,
        async (reader) => {
          const attempt = collect(reader, [{ offset: 0, length: 512 }]);
          setTimeout(() => abort.abort(new InterruptedError('SIGTERM')), 50);
          await expect(attempt).rejects.toThrow(new InterruptedError('SIGTERM'));
        },
        { signal: abort.signal },
      );
    }));

  test('a consumer of an NBD disk that stops early can go on with another pass', () =>
    withNbdkit(['pattern', `${8 * MiB}`], (socket) =>
      reading(socket, async (reader) => {
        for await (const piece of reader.read([{ offset: 0, length: 8 * MiB }])) {
          if (piece.length > 0) break;
        }
        expect((await wholeDisk(reader)).equals(pattern(8 * MiB))).toBe(true);
      }),
    ));

  test('closing an NBD reader while requests are out rejects them, and closing it twice succeeds', () =>
    withNbdkit(['--filter=delay', 'pattern', '1M', 'rdelay=30'], (socket) =>
      reading(socket, async (reader) => {
        const attempt = collect(reader, [{ offset: 0, length: 512 }]);
        const expectation = expect(attempt).rejects.toThrow('the connection was closed');
        await sleep(50);
        await reader.close();
        await reader.close();
        await expectation;
      }),
    ));
});

test('an NBD socket that nobody listens on is reported as such', async () => {
  await expect(reading('/nonexistent/socket', () => Promise.resolve())).rejects.toThrow(
    expect.objectContaining({ name: 'NotListeningError' }),
  );
});
