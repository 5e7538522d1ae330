// onevmdump restore without staging: OpenNebula's drivers fetch the disks from the bundle.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeInstalledWorld, type InstalledWorld } from '../support/installed-world.ts';
import { qemuCompare } from '../support/qemu-compare.ts';
import { sh, type Ended } from '../support/shell.ts';
import { datastoreId } from '../support/backup-world.ts';
import type { Image } from '../sandbox/images.ts';

let world: InstalledWorld;
let bundle: string;
/** The disks of the VM in the bundle, by DISK_ID: raw, qcow2, raw that begins like qcow2. */
let disks: readonly string[];
beforeAll(async () => {
  world = await makeInstalledWorld();
  const files = ['a.raw', 'b.qcow2', 'c.raw'].map((name) => join(world.folder, name));
  const images: number[] = [];
  for (const [index, file] of files.entries()) {
    const format = file.endsWith('qcow2') ? 'qcow2' : 'raw';
    await sh('qemu-img', 'create', '-q', '-f', format, file, '8M');
    await sh('qemu-io', '-f', format, '-c', `write -P ${index + 1} 3M 1M`, file);
    if (index === 2) await sh('sh', '-c', `printf 'QFI\\373' | dd of=${file} conv=notrunc`);
    const image = { name: `source ${index}`, file, format, datastore: format === 'raw' ? 1 : 101 };
    images.push(await world.sandbox.makeImage({ ...image, format }));
  }
  const vm = await world.sandbox.makeVm({
    template: `CPU=1\nMEMORY=64\n${images.map((id) => `DISK=[IMAGE_ID=${id}]`).join('\n')}`,
    name: 'old',
    state: 'poweroff',
  });
  disks = images.map((_, id) => join(world.sandbox.vmFolder(vm), `disk.${id}`));
  bundle = join(world.bundles, 'bundle.tar.gz');
  const { code, stderr } = await world.run(['export', String(vm), '-d', bundle]);
  if (code !== 0) throw new Error(stderr);
});
afterAll(() => world.close());
afterEach(async () => {
  await world.sandbox.settle();
  expect(await world.leftovers()).toEqual([bundle]);
  expect(await readdir(join(world.folder, 'state/tickets')).catch(() => [])).toEqual([]);
});

const images = (): Image[] => [...world.sandbox.world.images.values()];
const named = (name: string): Image[] => images().filter((image) => image.name.startsWith(name));
const restore = (...options: string[]): Promise<Ended> =>
  world.run(['-D', 'restore', bundle, ...options]);

async function restored(name: string, ...options: string[]): Promise<Ended> {
  const ended = await restore('-n', name, ...options);
  expect({ code: ended.code, stderr: ended.code === 0 ? '' : ended.stderr }).toEqual({
    code: 0,
    stderr: '',
  });
  await world.sandbox.settle();
  const made = named(name);
  expect(made.map(({ state }) => state)).toEqual([1, 1, 1]);
  const formats = ['raw', 'qcow2', 'raw'] as const;
  for (const [id, disk] of disks.entries()) {
    const { source, format } = made[id]!;
    await qemuCompare(disk, source, formats[id], format);
  }
  return ended;
}

describe('a restore without staging', () => {
  test('a restore has OpenNebula fetch raw and qcow2 disks from the bundle, identical, and makes no staging folder', async () => {
    const { stderr } = await restored('fetched');
    expect(stderr).toContain('nothing is staged');
    for (const { path } of named('fetched')) expect(path).toMatch(/^onevmdump:\/\/ticket\//);
    expect(named('fetched')[2]!.format).toBe('qcow2');
    expect(await readdir(world.folder)).not.toContain('staging');
  });

  test('a restore by a user who has no credentials but their own is fetched as well', async () => {
    const bob = await world.sandbox.addUser('bob');
    const args = ['-D', 'restore', bundle, '-n', 'bobs', '--disk', '0', '--datastore', '1'];
    const { code, stderr } = await world.run(args, { env: { ONE_AUTH: bob } });
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(stderr).toContain('nothing is staged');
    expect(named('bobs')).toMatchObject([{ uname: 'bob', state: 1 }]);
  });

  test('the address of a disk is worth nothing once the restore is over', async () => {
    await restored('once');
    const { path } = named('once')[0]!;
    const template = `NAME=again\nPATH="${path}"\nFROM_BACKUP_DS=${datastoreId}`;
    await expect(world.one.id('one.image.allocate', template, 1)).rejects.toThrow(
      /no restore is using the address/,
    );
  });

  test('a restore with --delivery staged writes the disks to the staging folder', async () => {
    const { stderr } = await restored('staged', '--delivery', 'staged');
    for (const { path } of named('staged')) expect(path).toContain(join(world.folder, 'staging'));
    expect(stderr).not.toContain('nothing is staged');
  });

  test('a restore obeys DELIVERY of the configuration', async () => {
    const args = ['restore', bundle, '-n', 'configured', '--disk', '0', '--datastore', '1'];
    const { code } = await world.run(args, { env: { ONEVMDUMP_DELIVERY: 'staged' } });
    expect(code).toBe(0);
    expect(named('configured')[0]!.path).toContain('staging');
  });

  test('a fetch that fails in the middle undoes the restore, and the error says how to stage the disks', async () => {
    const before = images().length;
    // The trial asks for the beginning only.
    const broken = '[[ -n $most ]] || { echo "ERROR: no more" >&2; exit 1; }';
    await withDownloader(broken, async () => {
      const { code, stderr } = await restore('-n', 'broken');
      expect(code).toBe(6);
      expect(stderr.trim().split('\n').at(-1)).toMatch(
        /could not take over image .*no more.*restore with --delivery staged$/,
      );
    });
    await world.sandbox.settle();
    expect(images()).toHaveLength(before);
  });
});

/** Calls `body` while these lines are in downloader.sh, after it has read its options. */
async function withDownloader(lines: string, body: () => Promise<void>): Promise<void> {
  const file = join(world.drivers, 'downloader.sh');
  const content = await readFile(file, 'utf8');
  await writeFile(file, content.replace('FROM="$1"\n', `${lines}\nFROM="$1"\n`));
  try {
    await body();
  } finally {
    await writeFile(file, content);
  }
}

describe('a restore is staged', () => {
  const streamer = (): string => join(world.drivers, 'onevmdump/stream_disk');

  async function without(change: () => unknown, undo: () => unknown, why: RegExp) {
    await change();
    try {
      const name = `staged ${Math.random()}`;
      const { stderr } = await restored(name);
      expect(stderr).toMatch(why);
      for (const { path } of named(name)) expect(path).toContain(join(world.folder, 'staging'));
      const calls = world.sandbox.calls.length;
      const forced = await restore('--delivery', 'address');
      expect({ code: forced.code, said: forced.stderr }).toEqual({
        code: 3,
        said: expect.stringMatching(why) as unknown,
      });
      const later = world.sandbox.calls.slice(calls).map(({ method }) => method);
      expect(later.filter((method) => method.endsWith('allocate'))).toEqual([]);
    } finally {
      await undo();
    }
  }

  test('a restore is staged, and one by address refused before anything is changed, when an upgrade of OpenNebula has replaced downloader.sh', async () => {
    const file = join(world.drivers, 'downloader.sh');
    const ours = await readFile(file, 'utf8');
    await without(
      () => writeFile(file, ours.replace('onevmdump://*)', 'other://*)')),
      () => writeFile(file, ours),
      /downloader\.sh does not know onevmdump:\/\//,
    );
  });

  test('a restore is staged when the driver is of another version', async () => {
    const saved = `${streamer()}.saved`;
    await without(
      async () => {
        await rename(streamer(), saved);
        // What that of another version does with a ticket of ours: test/datastore/ticket.test.ts.
        const refusal = 'ERROR: stream_disk: the restore is by another version';
        const script = `#!/bin/sh\necho "${refusal}" >&2\nexit 1\n`;
        await writeFile(streamer(), script, { mode: 0o755 });
      },
      () => rename(saved, streamer()),
      /the restore is by another version/,
    );
  });

  test('a restore is staged when OpenNebula has no backup datastore of onevmdump', async () => {
    const { datastores } = world.sandbox.world;
    const kept = datastores.get(datastoreId)!;
    await without(
      () => {
        datastores.delete(datastoreId);
      },
      () => {
        datastores.set(datastoreId, kept);
      },
      /sees no backup datastore of DS_MAD onevmdump/,
    );
  });

  test('a restore is staged when the driver of the image datastore is one that may fetch in its own way', async () => {
    const { template } = world.sandbox.world.datastores.get(1)!;
    await without(
      () => {
        template.replace('DS_MAD', 'linstor');
      },
      () => {
        template.erase('DS_MAD');
      },
      /has a driver \(DS_MAD linstor\)/,
    );
  });

  test('a restore of a bundle without a manifest is staged, because its disks are looked at first', async () => {
    const old = join(world.folder, 'old.tar.gz');
    const folder = join(world.folder, 'unpacked');
    await sh('mkdir', folder);
    await sh('tar', '-xzf', bundle, '-C', folder);
    const members = (await readdir(folder)).filter((name) => /^(vm\.xml|backup\.)/.test(name));
    await sh('tar', '-czf', old, '-C', folder, ...members.map((name) => `./${name}`));
    await rm(folder, { recursive: true });
    const { code, stderr } = await world.run(['-D', 'restore', old, '-n', 'old']);
    expect(code).toBe(0);
    expect(stderr).toContain('has no checksums for its disks');
    await rm(old);
  });
});
