// The main job as a user does it: the built command against the sandbox, judged by foreign tools.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { child, childText } from '../../lib/xml/xml.ts';
import { compareDisks } from '../support/compare-disks.ts';
import { awkwardValues, makeVm } from '../support/make-vm.ts';
import { sh } from '../support/shell.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let vmId: number;
let bundle: string;

beforeAll(async () => {
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  const { code, stdout, stderr } = await world.run(['export', String(vmId)]);
  if (code !== 0) throw new Error(stderr);
  bundle = stdout.trim();
});
afterAll(() => world.close());

async function restore(...options: string[]): Promise<number> {
  const { code, stdout, stderr } = await world.run([
    'restore',
    bundle,
    '--instantiate',
    ...options,
  ]);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const id = /^VM Restored: (\d+)\n$/.exec(stdout)?.[1];
  expect(id).toBeDefined();
  await world.sandbox.settle();
  return Number(id);
}

describe('an exported VM', () => {
  test('an exported VM comes back with identical disks, holes included', async () => {
    const restored = await restore('--name', 'copy');
    const disks = await compareDisks(world.sandbox, vmId, restored);
    expect(disks.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
    for (const disk of disks.filter(({ format }) => format === 'raw')) {
      expect(disk.restoredAllocated).toBeLessThan(disk.allocated + 1024 * 1024);
    }
  });

  test('an exported VM has its XML in the bundle byte for byte', async () => {
    const inBundle = await sh('tar', '-xzOf', bundle, './vm.xml');
    expect(inBundle).toBe(world.sandbox.vmXml(vmId));
  });

  test('an exported VM keeps every value of its user template, also quotes, backslashes and commands', async () => {
    const restored = parseVm(Buffer.from(world.sandbox.vmXml(await restore('--name', 'values'))));
    for (const [name, value] of Object.entries(awkwardValues)) {
      expect(childText(restored.userTemplate, name)).toBe(value);
    }
    await expect(stat('/tmp/onevmdump-was-here')).rejects.toThrow('ENOENT');
  });

  test('an exported VM comes back with its hardware and its boot order', async () => {
    const original = parseVm(Buffer.from(world.sandbox.vmXml(vmId)));
    const restored = parseVm(Buffer.from(world.sandbox.vmXml(await restore('--name', 'hardware'))));
    for (const name of ['CPU', 'VCPU', 'MEMORY']) {
      expect(childText(restored.template, name)).toBe(childText(original.template, name));
    }
    expect(childText(child(restored.template, 'OS')!, 'BOOT')).toBe('disk0');
    expect(restored.disks.map(({ target }) => target)).toEqual(
      original.disks.map(({ target }) => target),
    );
  });

  test('an exported VM comes back with images of the same type, persistence and description', async () => {
    const { code, stdout } = await world.run(['restore', bundle, '--name', 'facts', '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as { images: { diskId: number; imageId: number }[] };
    const xml = async (diskId: number) => {
      const image = report.images.find((one) => one.diskId === diskId)!.imageId;
      return world.one.text('one.image.info', image, false);
    };
    expect(await xml(0)).toContain('<TYPE>0</TYPE>');
    const data = await xml(1);
    expect(data).toContain('<TYPE>2</TYPE>');
    expect(data).toContain('<PERSISTENT>1</PERSISTENT>');
    expect(data).toContain(`<DESCRIPTION><![CDATA[The company's "records"]]></DESCRIPTION>`);
    expect(await xml(2)).toContain('<TYPE>2</TYPE>');
  });

  test('a restore uses the image of a CD-ROM again while it exists', async () => {
    const original = parseVm(Buffer.from(world.sandbox.vmXml(vmId)));
    const restored = parseVm(Buffer.from(world.sandbox.vmXml(await restore('--name', 'disc'))));
    expect(restored.disks[3]!.imageId).toBe(original.disks[3]!.imageId);
  });

  test('a bundle restores more than once, under names of its own', async () => {
    await restore();
    await restore();
    const names = await world.one.text('one.templatepool.info', -3, -1, -1);
    expect(names).toMatch(new RegExp(`<NAME>backup-${vmId}-\\d{8}-\\d{6}</NAME>`));
    expect(names).toMatch(new RegExp(`<NAME>backup-${vmId}-\\d{8}-\\d{6}-2</NAME>`));
  });

  test("a VM is exported from a hook's base64 on stdin, and its XML is decoded in the bundle", async () => {
    const target = join(world.folder, 'from-hook.tar.gz');
    const xml = world.sandbox.prettyVmXml(vmId);
    const input = Buffer.from(xml).toString('base64');
    const { code } = await world.run(['export', '--stdin', '-L', '-d', target], { input });
    expect(code).toBe(0);
    expect(await sh('tar', '-xzOf', target, './vm.xml')).toBe(xml);
  });

  test.each([
    [2, '2'],
    [3, '3'],
    [4, '1'],
  ])("an export keeps an operator's lock of level %i", async (level, stored) => {
    await world.one.call('one.vm.lock', vmId, level, false);
    const target = join(world.folder, `locked-${level}.tar.gz`);
    const { code, stderr } = await world.run(['export', String(vmId), '-d', target]);
    const after = world.sandbox.vmXml(vmId);
    await world.one.call('one.vm.unlock', vmId);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(after).toContain(`<LOCKED>${stored}</LOCKED>`);
  });

  test('a VM is locked while it is exported, also from its XML on stdin', async () => {
    const before = world.sandbox.calls.length;
    const target = join(world.folder, 'stdin-locked.tar.gz');
    const input = world.sandbox.vmXml(vmId);
    expect((await world.run(['export', '--stdin', '-d', target], { input })).code).toBe(0);
    const methods = world.sandbox.calls.slice(before).map(({ method }) => method);
    expect(methods.filter((one) => /lock/.test(one))).toEqual(['one.vm.lock', 'one.vm.unlock']);
  });

  test('an export leaves only the bundle, and the VM unlocked', async () => {
    expect(await world.leftovers()).toEqual([bundle]);
    expect(world.sandbox.vmXml(vmId)).not.toContain('<LOCKED>');
    expect((await stat(bundle)).mode & 0o777).toBe(0o600);
  });
});

describe('restoring a part', () => {
  test('restore --disk registers the image of one disk and no template', async () => {
    const { code, stdout } = await world.run(['restore', bundle, '--disk', '1', '-n', 'part']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Image restored: \d+\n$/);
    const templates = await world.one.text('one.templatepool.info', -3, -1, -1);
    expect(templates).not.toContain('<NAME>part</NAME>');
  });

  test('restore --volatile fresh makes volatile disks new', async () => {
    const restored = await restore('--name', 'fresh', '--volatile', 'fresh');
    const { disks } = parseVm(Buffer.from(world.sandbox.vmXml(restored)));
    expect(disks[2]!.type.toLowerCase()).toBe('fs');
    expect(disks[2]!.sizeMb).toBe(64);
  });

  test('restore --datastore puts all images into another datastore', async () => {
    const { code, stdout } = await world.run([
      ...['restore', bundle, '--disk', '1', '--disk', '2', '-n', 'elsewhere'],
      ...['--datastore', 'default', '--json'],
    ]);
    expect(code).toBe(0);
    for (const { imageId } of (JSON.parse(stdout) as { images: { imageId: number }[] }).images) {
      const image = await world.one.text('one.image.info', imageId, false);
      expect(image).toContain('<DATASTORE_ID>1</DATASTORE_ID>');
    }
  });
});

describe('what a bundle is to other tools', () => {
  test.each([
    ['GNU tar', ['tar', '-tvzf']],
    ['bsdtar', ['bsdtar', '-tvf']],
  ])('%s lists a bundle with the sizes of its disks', async (_, [program, option]) => {
    const listing = await sh(program!, option!, bundle);
    expect(listing).toMatch(/ 536870912 .*backup\.disk\.1\n/);
    expect(listing).toMatch(/ 67108864 .*backup\.disk\.2\n/);
  });

  test('Python lists a bundle with the sizes of its disks', async () => {
    const script =
      'import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, m.size, m.issparse())';
    const listing = await sh('python3', '-c', script, bundle);
    expect(listing).toContain('backup.disk.1 536870912 True');
  });

  test('GNU tar extracts every disk of a bundle as it was', async () => {
    const target = join(world.folder, 'extracted');
    await sh('mkdir', target);
    await sh('tar', '-xzf', bundle, '-C', target);
    const folder = join(world.datastores, '100', String(vmId));
    const formats = ['qcow2', 'raw', 'raw', 'raw'];
    for (const [id, format] of formats.entries()) {
      const [original, copy] = [join(folder, `disk.${id}`), join(target, `backup.disk.${id}`)];
      await sh('qemu-img', 'compare', '-f', format, '-F', format, original, copy);
      if (format === 'raw') await sh('cmp', original, copy);
    }
    await sh('qemu-img', 'check', '-f', 'qcow2', join(target, 'backup.disk.0'));
  });

  test('a bundle packed by GNU tar -czS, as by the older onevmdump, restores', async () => {
    const target = join(world.folder, 'older');
    await sh('mkdir', '-p', target);
    await sh(
      'tar',
      '-xzf',
      bundle,
      '-C',
      target,
      '--exclude',
      './*.json',
      '--exclude',
      './regions.*',
    );
    const older = join(world.folder, 'older.tar.gz');
    await sh('tar', '-czSf', older, '-C', target, '.');
    const { code, stdout } = await world.run(['restore', older, '--instantiate', '-n', 'older']);
    expect(code).toBe(0);
    await world.sandbox.settle();
    await compareDisks(world.sandbox, vmId, Number(/\d+/.exec(stdout)?.[0]));
  });
});

describe('looking at bundles', () => {
  test('show tells what is in a bundle, as text and as JSON', async () => {
    const plain = await world.run(['show', bundle]);
    expect(plain.stdout).toContain('POWEROFF');
    const { stdout } = await world.run(['show', bundle, '--json']);
    const report = JSON.parse(stdout) as { vm: { id: number }; disks: { format: string }[] };
    expect(report.vm.id).toBe(vmId);
    expect(report.disks.map(({ format }) => format)).toEqual(['qcow2', 'raw', 'raw', 'raw']);
  });

  test('list shows the bundles of a folder', async () => {
    const { code, stdout } = await world.run(['list', world.bundles]);
    expect(code).toBe(0);
    expect(stdout).toContain(bundle.split('/').at(-1));
  });

  test('verify accepts an undamaged bundle', async () => {
    expect((await world.run(['verify', bundle])).code).toBe(0);
  });

  test('verify finds a changed byte of a bundle, says where, and exits with 5', async () => {
    const damaged = join(world.folder, 'damaged.tar.gz');
    const bytes = await readFile(bundle);
    bytes[Math.floor(bytes.length / 2)]! ^= 0x55;
    const { writeFile } = await import('node:fs/promises');
    await writeFile(damaged, bytes);
    const { code, stderr } = await world.run(['verify', damaged]);
    expect(code).toBe(5);
    expect(stderr).toMatch(/disk \d/);
    expect((await world.run(['restore', damaged, '-n', 'damaged'])).code).toBe(5);
    const images = await world.one.text('one.imagepool.info', -3, -1, -1);
    expect(images).not.toContain('<NAME>damaged-');
  });
});
