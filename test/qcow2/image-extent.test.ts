import { describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Command } from '../../lib/run/runner.ts';
import { requireWhole } from '../../lib/qcow2/image-extent.ts';
import { headerBytes, readImageLayer } from '../../lib/qcow2/image-layer.ts';
import { inFolder, quiet } from '../support/nbd-servers.ts';
import { rawFile } from '../support/storage-world.ts';

const kib = 1024;
const sizeKib = 6 * kib + 3;

function qemuImg(...args: readonly string[]): void {
  execFileSync('qemu-img', [...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}

function look(path: string, commands: Command[] = []): Promise<void> {
  const head = execFileSync('head', ['-c', String(headerBytes), path]);
  const { header } = readImageLayer(head, 'the file');
  const runner = localRunner(quiet);
  const recording: typeof runner = {
    ...runner,
    run(command, options) {
      commands.push(command);
      return runner.run(command, options);
    },
  };
  return requireWhole(header, path, 'the file', recording);
}

/** An image of 6 MiB and 3 KiB with data in two places, made by qemu-img. */
async function image(
  folder: string,
  options: readonly string[],
  compressed: boolean,
): Promise<string> {
  const [raw, path] = [join(folder, 'raw'), join(folder, 'image')];
  await rawFile(raw, sizeKib * kib, [
    [64 * kib, 700 * kib],
    [4000 * kib, 2000 * kib],
  ]);
  const more = options.flatMap((option) => ['-o', option]);
  qemuImg('convert', ...(compressed ? ['-c'] : []), '-O', 'qcow2', ...more, raw, path);
  return path;
}

/** Whether the disk in a file that was cut reads as the whole one. */
function readsTheSame(cut: string, whole: string): boolean {
  const { status } = spawnSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', cut, whole]);
  return status === 0;
}

const kinds: [string, string[], boolean][] = [
  ['with the usual options', [], false],
  ['of version 2', ['compat=0.10'], false],
  ['with clusters of 512 bytes', ['cluster_size=512'], false],
  ['with clusters of 2 MiB', ['cluster_size=2M'], false],
  ['with refcounts of 1 bit', ['refcount_bits=1'], false],
  ['with refcounts of 64 bits', ['refcount_bits=64'], false],
  ['with extended L2 entries', ['extended_l2=on'], false],
  ['with metadata in front', ['preallocation=metadata'], false],
  ['that is compressed', [], true],
  ['that is compressed by zstd', ['compression_type=zstd'], true],
  ['that is compressed in clusters of 4 KiB', ['cluster_size=4k'], true],
];

describe('a qcow2 file', () => {
  test.each(kinds)('a qcow2 file (%s) is whole as qemu-img made it', (_, options, compressed) =>
    inFolder(async (folder) => {
      await expect(look(await image(folder, options, compressed))).resolves.toBeUndefined();
    }),
  );

  test.each(kinds)(
    'a qcow2 file (%s) that was cut is refused wherever QEMU reads other data from it, but for its last cluster',
    (_, options, compressed) =>
      inFolder(async (folder) => {
        const whole = await image(folder, options, compressed);
        const clusterKib = options.includes('cluster_size=2M') ? 2 * kib : 64;
        const cut = join(folder, 'cut');
        const { size } = statSync(whole);
        const tails = [0.1, 0.3, 0.5, 0.7, 0.9, 0.97].map((part) => Math.floor(size * part));
        let refused = 0;
        for (const length of [...tails, size - clusterKib * kib - 1]) {
          copyFileSync(whole, cut);
          truncateSync(cut, length);
          const error = await look(cut).then(
            () => undefined,
            (thrown: unknown) => thrown as Error,
          );
          if (error) {
            refused += 1;
            expect(error.message).toMatch(
              /^the file was cut short: the file has \d+ bytes, .* qemu-img check -f qcow2 \S+cut$/,
            );
          } else if (length < size - clusterKib * kib) {
            expect(readsTheSame(cut, whole)).toBe(true);
          }
        }
        expect(refused).toBeGreaterThan(0);
      }),
  );

  test('a qcow2 file that is compressed and lost its last 600 bytes is refused', () =>
    inFolder(async (folder) => {
      const path = await image(folder, [], true);
      truncateSync(path, statSync(path).size - 600);
      await expect(look(path)).rejects.toThrow('was cut short');
    }));

  test('a qcow2 file that ends inside its last data cluster is whole', () =>
    inFolder(async (folder) => {
      const path = await image(folder, [], false);
      truncateSync(path, statSync(path).size - 60 * kib);
      expect(spawnSync('qemu-img', ['check', '-f', 'qcow2', path]).status).toBe(0);
      await expect(look(path)).resolves.toBeUndefined();
    }));

  test('a qcow2 file that is empty is whole, also right after it was made', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'image');
      qemuImg('create', '-q', '-f', 'qcow2', path, '10G');
      await expect(look(path)).resolves.toBeUndefined();
    }));

  test('a qcow2 file whose refcounts reach beyond its end, but not its data, is whole: clusters were leaked', () =>
    inFolder(async (folder) => {
      const path = await image(folder, [], false);
      const { size } = statSync(path);
      // The clusters of an internal snapshot's L1 table come last; the disk does not need them.
      qemuImg('snapshot', '-c', 'one', path);
      truncateSync(path, size);
      await expect(look(path)).resolves.toBeUndefined();
    }));

  test('a qcow2 file with lazy refcounts, after a crash, is judged by its data and not by its refcounts', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'image');
      qemuImg('create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '16M');
      spawnSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 8M', '-c', 'abort', path]);
      await expect(look(path)).resolves.toBeUndefined();
      truncateSync(path, 4 * kib * kib);
      await expect(look(path)).rejects.toThrow('was cut short');
    }));

  test('a qcow2 file of any size is judged by a few reads of its tables when its refcounts tell enough', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'image');
      qemuImg('create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', path, '64G');
      const commands: Command[] = [];
      await look(path, commands);
      expect(commands.map(({ program }) => program)).toEqual(['stat', 'sh', 'sh']);
    }));
});
