// qemu-nbd: its exact words, and the real one with files whose names are hard to pass on.
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { localRunner } from '../../lib/run/local-runner.ts';
import { startQemuNbd, type BlockNode } from '../../lib/tools/qemu-nbd.ts';
import { inFolder, quiet, reading, wholeDisk } from '../support/nbd-servers.ts';
import { hostileNames, withFakes } from './fake-on-path.ts';

const runner = localRunner(quiet);
const MiB = 1024 * 1024;

/** What the server of an image gives. */
async function served(image: BlockNode): Promise<Buffer> {
  return await inFolder(async (folder) => {
    const socketPath = join(folder, 'nbd');
    const server = await startQemuNbd(runner, image, socketPath);
    try {
      let ended: string | undefined;
      void server.ended.then(({ stderr }) => (ended = stderr));
      while (!existsSync(socketPath)) {
        if (ended !== undefined) throw new Error(ended);
        await sleep(5);
      }
      await sleep(20);
      return await reading(socketPath, wholeDisk, { socketPath });
    } finally {
      await server.stop();
    }
  });
}

test('a server is started read-only, for one connection, with every layer of the image spelled out', () =>
  withFakes({ 'qemu-nbd': 'exec sleep 60' }, async (fakes) => {
    const server = await startQemuNbd(
      fakes.runner,
      {
        ...{ driver: 'qcow2', path: '/top' },
        backing: { driver: 'qcow2', path: '/mid', backing: { driver: 'raw', path: '/base' } },
      },
      '/tmp/s',
    );
    for (let tries = 0; (await fakes.calls()).length === 0; tries++) await sleep(10);
    await server.stop();
    const [words = []] = await fakes.calls();
    expect(words.slice(0, -1)).toEqual([
      ...['qemu-nbd', '--read-only', '--shared=1', '--socket=/tmp/s'],
      ...['--cache=writeback', '--detect-zeroes=off', '--discard=ignore'],
    ]);
    const file = (filename: string) => ({ driver: 'file', filename });
    expect(JSON.parse(words.at(-1)?.replace(/^json:/, '') ?? '')).toEqual({
      ...{ driver: 'qcow2', 'read-only': true, file: file('/top') },
      backing: {
        ...{ driver: 'qcow2', 'read-only': true, file: file('/mid') },
        backing: { driver: 'raw', 'read-only': true, file: file('/base') },
      },
    });
  }));

test('a block device is read past the page cache', () =>
  withFakes({ 'qemu-nbd': 'exec sleep 60' }, async (fakes) => {
    const image = { driver: 'raw', path: '/dev/vg/lv', device: true } as const;
    const server = await startQemuNbd(fakes.runner, image, '/tmp/s');
    for (let tries = 0; (await fakes.calls()).length === 0; tries++) await sleep(10);
    await server.stop();
    const [words = []] = await fakes.calls();
    expect(JSON.parse(words.at(-1)?.replace(/^json:/, '') ?? '')).toEqual({
      ...{ driver: 'raw', 'read-only': true },
      file: { driver: 'host_device', filename: '/dev/vg/lv', cache: { direct: true } },
    });
  }));

test.each(hostileNames)('a raw file named %j is served byte for byte', (name) =>
  inFolder(async (folder) => {
    const path = join(folder, name);
    const content = Buffer.alloc(MiB, name);
    writeFileSync(path, content);
    expect((await served({ driver: 'raw', path })).equals(content)).toBe(true);
    expect(readdirSync(folder)).toEqual([name]);
  }),
);

test('a raw disk whose content is a qcow2 header is served as it is', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'disk');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1G']);
    const bytes = await served({ driver: 'raw', path });
    expect(bytes.subarray(0, 4).toString('latin1')).toBe('QFI\xfb');
  }));

test('a backing file that a header names is not opened', () =>
  inFolder(async (folder) => {
    const [secret, top] = [join(folder, 'secret'), join(folder, 'top')];
    writeFileSync(secret, Buffer.alloc(MiB, 's'));
    execFileSync('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', top],
      String(MiB),
    ]);
    const bytes = await served({ driver: 'qcow2', path: top, backing: null });
    expect(bytes.equals(Buffer.alloc(MiB))).toBe(true);
  }));

test('the end of a server that cannot open its image has the reason', () =>
  inFolder(async (folder) => {
    const image = { driver: 'raw', path: join(folder, 'gone') } as const;
    const server = await startQemuNbd(runner, image, join(folder, 's'));
    expect(await server.ended).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/gone': No such file/) as unknown,
    });
  }));

test('a path that is too long for a socket is refused before anything is started', () =>
  withFakes({ 'qemu-nbd': '' }, async (fakes) => {
    const long = `/tmp/${'ü'.repeat(52)}`;
    await expect(startQemuNbd(fakes.runner, { driver: 'raw', path: '/d' }, long)).rejects.toThrow(
      `the path ${long} is too long for a socket`,
    );
    expect(await fakes.calls()).toEqual([]);
  }));
