// A file system that becomes full in the middle of a write: the kernel then takes a part of the bytes without
// an error. Whatever is written must be complete, or fail. On real small file systems, which only root can mount.
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createFileSink } from '../../lib/bundle/location/file-sink.ts';
import { partName } from '../../lib/vm/names.ts';
import { writeAll } from '../../lib/bundle/write/write-all.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import {
  aboutOf,
  noise,
  noLog,
  testFolder,
  writeBundle,
  noCompression,
} from '../support/write-bundle.ts';

const command = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const none = noCompression;

const folder = testFolder();
afterAll(folder.remove);
const small = join(folder.path, 'small');
const smallBytes = 1024 * 1024;

/** Containers may have no right to mount, root or not. */
function canMount(): boolean {
  if (userInfo().uid !== 0) return false;
  mkdirSync(small, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'tmpfs', small]);
  if (mounted.status === 0) execFileSync('umount', [small]);
  return mounted.status === 0;
}

(canMount() ? describe : describe.skip)('on a file system of 1 MiB', () => {
  beforeEach(() => void execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'tmpfs', small]));
  afterEach(() => void execFileSync('umount', [small]));

  test('the kernel takes only a part of a write without an error when the file system fills up', async () => {
    const file = await open(join(small, 'file'), 'w');
    const { bytesWritten } = await file.write(noise(2 * smallBytes), 0, 2 * smallBytes, 0);
    await file.close();
    expect(bytesWritten).toBeGreaterThan(0);
    expect(bytesWritten).toBeLessThanOrEqual(smallBytes);
  });

  test('writeAll writes everything or fails', async () => {
    const file = await open(join(small, 'file'), 'w');
    await writeAll(file, noise(smallBytes / 2), 0);
    expect((await file.stat()).size).toBe(smallBytes / 2);
    await expect(writeAll(file, noise(smallBytes), smallBytes / 2)).rejects.toThrow('ENOSPC');
    await file.close();
  });

  test.each(['gzip', 'none'] as const)(
    'a bundle that does not fit is not there at all: %s',
    async (kind) => {
      const disk = join(folder.path, 'disk');
      const size = 3 * smallBytes;
      writeFileSync(disk, noise(size));
      const codec = await pickCompressor({ method: kind });
      const disks = [
        {
          path: disk,
          virtualSize: size,
          extents: [{ offset: 0, length: size }],
          layout: { format: 'raw' } as const,
        },
      ];
      await expect(writeBundle(join(small, 'bundle'), codec, disks)).rejects.toThrow(
        'no space left on the device',
      );
      expect(readdirSync(small)).toEqual([]);
    },
  );

  test('a bundle whose last bytes do not fit is not committed', async () => {
    const sink = await createFileSink(join(small, 'bundle'), partName(join(small, 'bundle')));
    await sink.write(noise(smallBytes - 4096));
    await expect(sink.write(noise(8192))).rejects.toThrow('no space left on the device');
    await sink.discard();
    expect(readdirSync(small)).toEqual([]);
  });

  test('a result that does not fit into the file behind stdout is an error', async () => {
    const bundle = join(folder.path, 'large-xml');
    const sink = await createFileSink(bundle, partName(bundle));
    const writer = new BundleWriter(sink, none, { created: new Date(), log: noLog });
    await writer.addFile('./vm.xml', Buffer.alloc(2 * smallBytes, 'x'));
    await writer.addAbout(aboutOf([]));
    await writer.finish([]);
    await sink.commit();
    const out = openSync(join(small, 'out'), 'w');
    const ended = spawnSync(command, ['show', '--xml', bundle], {
      stdio: ['ignore', out, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(out);
    expect(ended.stderr).toContain('cannot write the result to stdout: ENOSPC');
    expect(ended.status).toBe(1);
  });
});
