// Disks of every shape through export and restore, compared by foreign tools.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { childText } from '../../lib/xml/xml.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { sh } from '../support/shell.ts';
import { fileVm, type FileDisk, type FileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

const mib = 1024 * 1024;
let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

/** Writes `data` at places of a sparse raw file of `size` bytes. */
async function rawDisk(path: string, size: number, pieces: readonly [number, Buffer][] = []) {
  const file = await open(path, 'w');
  await file.truncate(size);
  for (const [offset, data] of pieces) await file.write(data, 0, data.length, offset);
  await file.close();
}

async function qcow2Disk(path: string, raw: string, options: string) {
  await sh('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-o', options, raw, path);
}

interface Shape extends FileDisk {
  readonly make: (path: string) => Promise<void>;
}

const noise = (length: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 7919) % 251));

const shapes: readonly Shape[] = [
  { id: 0, make: (path) => rawDisk(path, 1 * mib) },
  { id: 1, make: (path) => rawDisk(path, 777_777, [[0, noise(777_777)]]) },
  { id: 2, make: (path) => rawDisk(path, 1, [[0, Buffer.from('x')]]) },
  { id: 3, make: (path) => rawDisk(path, 513, [[511, Buffer.from('ab')]]) },
  { id: 4, make: (path) => rawDisk(path, 9 * 1024 * mib + 512, [[8.5 * 1024 * mib, noise(5000)]]) },
  { id: 5, make: (path) => rawDisk(path, 1024 ** 4, [[1024 ** 4 - mib, noise(mib)]]) },
  {
    id: 6,
    format: 'qcow2',
    make: async (path) => {
      await rawDisk(`${path}.raw`, 64 * mib, [[3 * mib, noise(100_000)], [63 * mib, noise(mib)]]); // prettier-ignore
      await qcow2Disk(path, `${path}.raw`, 'cluster_size=65536');
    },
  },
  {
    id: 7,
    format: 'qcow2',
    make: async (path) => {
      await rawDisk(`${path}.raw`, 65 * mib + 512, [[65 * mib, noise(512)]]);
      await qcow2Disk(path, `${path}.raw`, 'cluster_size=2M');
    },
  },
  { id: 8, format: 'qcow2', make: (path) => sh('qemu-img', 'create', '-q', '-f', 'qcow2', path, '1T').then(() => undefined) }, // prettier-ignore
  {
    id: 9,
    format: 'qcow2',
    make: async (path) => {
      await rawDisk(`${path}.raw`, 4 * mib, [[0, noise(4 * mib)]]);
      await sh('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', `${path}.raw`, path);
    },
  },
  { id: 12, make: (path) => rawDisk(path, 10 * mib, [[0, noise(10 * mib)]]) },
];

/** Where the datastore put the disk: SOURCE of the restored image. */
async function sourceOf(imageId: number): Promise<string> {
  const xml = await world.one.text('one.image.info', imageId, false);
  return childText(parseXml(Buffer.from(xml), 'image'), 'SOURCE') ?? '';
}

async function roundTrip(
  vm: FileVm,
  name: string,
): Promise<{ bundle: string; sources: Map<number, string> }> {
  const exported = await world.run(['export', '--stdin', '-L'], { input: vm.xml });
  expect({ code: exported.code, stderr: exported.code ? exported.stderr : '' }).toEqual({
    code: 0,
    stderr: '',
  });
  const bundle = exported.stdout.trim();
  const restored = await world.run([
    'restore',
    bundle,
    '-n',
    name,
    '--json',
    '--no-check-capacity',
  ]);
  expect({ code: restored.code, stderr: restored.code ? restored.stderr : '' }).toEqual({
    code: 0,
    stderr: '',
  });
  const { images } = JSON.parse(restored.stdout) as {
    images: { diskId: number; imageId: number }[];
  };
  const sources = new Map<number, string>();
  for (const { diskId, imageId } of images) sources.set(diskId, await sourceOf(imageId));
  return { bundle, sources };
}

describe('a VM with eleven disks of all shapes', () => {
  let vm: FileVm;
  let sources: Map<number, string>;
  let bundle: string;

  beforeAll(async () => {
    vm = await fileVm(world.datastores, 40, shapes);
    for (const { id, make } of shapes) await make(vm.path(id));
    ({ bundle, sources } = await roundTrip(vm, 'shapes'));
  });

  test.each(shapes.map(({ id, format = 'raw' }) => [id, format] as const))(
    'of a VM with disks of all shapes disk %i (%s) comes back identical',
    async (id, format) => {
      const source = sources.get(id)!;
      await sh('qemu-img', 'compare', '-f', format, '-F', format, vm.path(id), source);
      // 1 TiB byte by byte takes minutes; qemu-img compare has looked at all of it.
      if (format === 'raw' && id !== 5) await sh('cmp', vm.path(id), source);
      if (format === 'qcow2') await sh('qemu-img', 'check', '-f', 'qcow2', source);
    },
  );

  test.each(shapes.map(({ id }) => [id]))(
    'of a VM with disks of all shapes disk %i has its holes again',
    async (id) => {
      const [original, copy] = [await stat(vm.path(id)), await stat(sources.get(id)!)];
      // Compressed clusters are stored plainly; file systems round up.
      const allowed = id === 9 ? 5 * mib : original.blocks * 512 + 64 * 1024;
      expect(copy.blocks * 512).toBeLessThanOrEqual(allowed);
    },
  );

  test('a bundle of a VM with disks of all shapes is verified', async () => {
    expect((await world.run(['verify', bundle])).code).toBe(0);
  });

  test('a bundle of a VM with disks of all shapes keeps cluster sizes', async () => {
    const size = async (id: number) => {
      const info = await sh('qemu-img', 'info', '-f', 'qcow2', '--output=json', sources.get(id)!);
      return (JSON.parse(info) as Record<string, number>)['cluster-size'];
    };
    expect([await size(6), await size(7)]).toEqual([65536, 2 * mib]);
  });
});

test('a disk of 50,000 extents comes back identical', async () => {
  const vm = await fileVm(world.datastores, 41, [{ id: 0 }]);
  const file = await open(vm.path(0), 'w');
  const data = noise(4096);
  for (let extent = 0; extent < 50_000; extent++) await file.write(data, 0, 4096, extent * 16384);
  await file.close();
  const { sources } = await roundTrip(vm, 'extents');
  await sh('cmp', vm.path(0), sources.get(0)!);
  const { blocks } = await stat(sources.get(0)!);
  expect(blocks * 512).toBeLessThan(50_000 * 4096 * 1.1);
});

test('a disk of no bytes is in the bundle as a file of no bytes', async () => {
  const vm = await fileVm(world.datastores, 42, [{ id: 0 }]);
  await rawDisk(vm.path(0), 0);
  const input = vm.xml.replace('<SIZE>1</SIZE>', '<SIZE>0</SIZE>');
  const exported = await world.run(['export', '--stdin', '-L'], { input });
  expect(exported.code).toBe(0);
  const bundle = exported.stdout.trim();
  expect(await sh('tar', '-tvzf', bundle)).toMatch(/ 0 [^/]*\.\/backup\.disk\.0\n/);
  expect((await world.run(['verify', bundle])).code).toBe(0);
});

test('a VM without disks is exported and restored as a template', async () => {
  const vm = await fileVm(world.datastores, 43, []);
  const { sources } = await roundTrip(vm, 'diskless');
  expect(sources.size).toBe(0);
});

test.each(['gzip', 'gzip:6', 'zstd', 'zstd:3', 'none'])(
  'a bundle made with --compress %s restores',
  async (way) => {
    const vm = await fileVm(world.datastores, 44, [{ id: 0 }]);
    await rawDisk(vm.path(0), 40 * mib, [[mib, noise(34 * mib)]]);
    const name = `way-${way.replace(':', '-')}`;
    const target = join(world.bundles, name);
    const exported = await world.run(['export', '--stdin', '-L', '-d', target, '--compress', way], {
      input: vm.xml,
    });
    expect(exported.code).toBe(0);
    const restored = await world.run(['restore', target, '-n', name, '--json']);
    const { images } = JSON.parse(restored.stdout) as { images: { imageId: number }[] };
    await sh('cmp', vm.path(0), await sourceOf(images[0]!.imageId));
  },
);

describe('a raw disk in which the guest wrote a foreign header', () => {
  /** A qcow2 header that names `backing`, in front of what is otherwise a raw disk. */
  async function hostileDisk(path: string, backing: string): Promise<void> {
    await sh(
      'qemu-img',
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-b',
      backing,
      '-F',
      'raw',
      path,
      '1M',
    );
    const file = await open(path, 'r+');
    await file.truncate(4 * mib);
    await file.write(noise(1000), 0, 1000, 3 * mib);
    await file.close();
  }

  test('a raw disk in which the guest wrote a foreign header comes back byte for byte, and the file it names is read by nobody', async () => {
    const vm = await fileVm(world.datastores, 45, [{ id: 0 }]);
    const secret = join(world.folder, 'secret-of-the-host');
    await sh('dd', 'if=/dev/urandom', `of=${secret}`, 'bs=1M', 'count=1', 'status=none');
    await sh('touch', '-a', '-d', '2001-01-01', secret);
    await hostileDisk(vm.path(0), secret);
    const { sources, bundle } = await roundTrip(vm, 'hostile');
    // It is wrapped: its format is qcow2 now, its content the raw disk with the guest's header.
    const source = sources.get(0)!;
    await sh('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', vm.path(0), source);
    expect(world.sandbox.probedBackingFiles).toEqual([]);
    expect((await stat(secret)).atime.getFullYear()).toBe(2001);
    const secretText = (await sh('xxd', '-p', '-l', '32', secret)).trim();
    expect(await sh('bash', '-c', `gzip -dc '${bundle}' | xxd -p | tr -d '\\n'`)).not.toContain(
      secretText,
    );
  });

  test.each([
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0])],
    ['bzip2', Buffer.from('BZh91AY&SY')],
    ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
    ['zip', Buffer.from('PK\x03\x04')],
    ['VMDK', Buffer.from('KDMV')],
  ])(
    'a raw disk that begins like %s is not unpacked or converted by the datastore',
    async (name, magic) => {
      const vm = await fileVm(world.datastores, 46, [{ id: 0 }]);
      await rawDisk(vm.path(0), mib, [[0, magic], [4096, noise(4096)]]); // prettier-ignore
      const { sources, bundle } = await roundTrip(vm, `magic-${name}`);
      await sh('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', vm.path(0), sources.get(0)!);
      // The next one may have the same name: names have seconds.
      await rm(bundle);
    },
  );
});
