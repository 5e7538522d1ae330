import { execFileSync } from 'node:child_process';
import { mkdtemp, open, readFile, readlink, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { call, mustCall } from './call.ts';
import type { NewImage } from './make.ts';
import { prettyXml } from './pretty-xml.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';

let dir: string;
let sandbox: Sandbox;
let raw: string;
let qcow2: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sandbox-vms-'));
  sandbox = await startSandbox({ dir: join(dir, 'one'), imageCopyMs: 0, deployMs: 0 });
  raw = join(dir, 'disk.raw');
  qcow2 = join(dir, 'disk.qcow2');
  const file = await open(raw, 'w');
  await file.write('hello', 1048576);
  await file.truncate(4 * 1048576);
  await file.close();
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
});

afterEach(async () => {
  await sandbox.stop();
  await rm(dir, { recursive: true, force: true });
});

interface QemuInfo {
  readonly format: string;
  readonly 'backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly 'virtual-size': number;
}

function info(path: string, format: string): QemuInfo {
  const out = execFileSync('qemu-img', ['info', '--output=json', '-f', format, path]);
  return JSON.parse(out.toString()) as QemuInfo;
}

function imageState(id: number): number | undefined {
  return sandbox.world.images.get(id)?.state;
}

describe('with TM ssh', () => {
  test('with TM ssh of the stand-in disks are full copies in the folder of the VM, whatever the image is', async () => {
    const system = await sandbox.makeImage({ name: 'os', file: raw, format: 'raw' });
    await sandbox.makeImage({
      name: 'data',
      file: qcow2,
      format: 'qcow2',
      persistent: true,
    });
    const disks = `DISK=[IMAGE_ID=${system}] DISK=[IMAGE=data]`;
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 ${disks}` });
    const folder = sandbox.vmFolder(vm);
    expect(folder).toBe(`${dir}/one//datastores/0/${vm}`);
    expect(() => execFileSync('cmp', [raw, `${folder}/disk.0`])).not.toThrow();
    expect(() => execFileSync('cmp', [qcow2, `${folder}/disk.1`])).not.toThrow();
    expect((await stat(`${folder}/disk.0`)).blocks * 512).toBeLessThan(1048576);
  });

  test('with TM ssh of the stand-in a disk with a larger SIZE grows', async () => {
    const id = await sandbox.makeImage({ name: 'os', file: raw, format: 'raw' });
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 DISK=[IMAGE_ID=${id},SIZE=9]` });
    expect((await stat(`${sandbox.vmFolder(vm)}/disk.0`)).size).toBe(9 * 1048576);
  });
});

describe('with TM qcow2', () => {
  test('with TM qcow2 of the stand-in a disk is a relative link to an overlay that names image and format', async () => {
    const image = { name: 'os', file: qcow2, format: 'qcow2', datastore: 101 } as const;
    const id = await sandbox.makeImage(image);
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 DISK=[IMAGE_ID=${id}]` });
    const disk = `${sandbox.vmFolder(vm)}/disk.0`;
    expect(disk).toContain('/datastores/100/');
    expect(await readlink(disk)).toBe('disk.0.snap/0');
    expect(await readlink(`${disk}.snap/disk.0.snap`)).toBe('.');
    const overlay = info(`${disk}.snap/0`, 'qcow2');
    expect(overlay['backing-filename']).toBe(sandbox.world.images.get(id)?.source);
    expect(overlay['backing-filename-format']).toBe('qcow2');
  });

  test('with TM qcow2 of the stand-in a persistent image is an absolute link through its snap folder', async () => {
    const id = await sandbox.makeImage({
      name: 'os',
      file: qcow2,
      format: 'qcow2',
      datastore: 101,
      persistent: true,
    });
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 DISK=[IMAGE_ID=${id}]` });
    const { source } = sandbox.world.images.get(id)!;
    expect(await readlink(`${sandbox.vmFolder(vm)}/disk.0`)).toBe(`${source}.snap/0`);
    expect(await readlink(`${source}.snap/0`)).toBe(source);
  });

  test('with TM qcow2 of the stand-in a CD-ROM is an absolute link to the image', async () => {
    const image = { name: 'cd', file: raw, format: 'raw', datastore: 101, type: 'CDROM' } as const;
    const id = await sandbox.makeImage(image);
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 DISK=[IMAGE_ID=${id}]` });
    const disk = `${sandbox.vmFolder(vm)}/disk.0`;
    expect(await readlink(disk)).toBe(sandbox.world.images.get(id)?.source);
  });

  test('with TM qcow2 of the stand-in TM_MAD_SYSTEM=ssh makes full copies on the ssh system datastore', async () => {
    const image = { name: 'os', file: qcow2, format: 'qcow2', datastore: 101 } as const;
    const id = await sandbox.makeImage(image);
    const template = `CPU=1 MEMORY=64 TM_MAD_SYSTEM=ssh DISK=[IMAGE_ID=${id}]`;
    const vm = await sandbox.makeVm({ template, systemDatastore: 0 });
    expect((await stat(`${sandbox.vmFolder(vm)}/disk.0`)).isFile()).toBe(true);
    expect(() => execFileSync('cmp', [qcow2, `${sandbox.vmFolder(vm)}/disk.0`])).not.toThrow();
    expect(sandbox.vmXml(vm)).toContain('<LN_TARGET><![CDATA[SYSTEM]]></LN_TARGET>');
  });
});

describe('a VM', () => {
  test('a VM of the stand-in has its volatile disks and its context on the system datastore', async () => {
    const disks = 'DISK=[TYPE=fs,SIZE=8,FORMAT=qcow2,FS=ext4] DISK=[TYPE=swap,SIZE=4]';
    const context = 'CONTEXT=[NETWORK=YES,GREETING="it\'s \\"me\\""] NIC=[NETWORK=net1]';
    const template = `CPU=0.1 MEMORY=64 ${disks} ${context}`;
    const vm = await sandbox.makeVm({ template, systemDatastore: 100 });
    const folder = sandbox.vmFolder(vm);
    expect((await readdir(folder)).sort()).toEqual(['disk.0', 'disk.1', 'disk.2']);
    expect(info(`${folder}/disk.0`, 'qcow2')['virtual-size']).toBe(8 * 1048576);
    const swap = await readFile(`${folder}/disk.1`);
    expect(swap.subarray(4086, 4096).toString()).toBe('SWAPSPACE2');
    const context2 = execFileSync('bsdtar', ['-xOf', `${folder}/disk.2`, 'context.sh']).toString();
    expect(context2).toContain(`GREETING='it'\\''s "me"'`);
    expect(context2).toContain("ETH0_IP='10.9.0.10'");
  });

  test('a VM of the stand-in gets ids and targets as oned gives them', async () => {
    const os = await sandbox.makeImage({
      name: 'os',
      file: raw,
      format: 'raw',
      template: 'DEV_PREFIX=vd',
    });
    const cd = await sandbox.makeImage({ name: 'cd', file: raw, format: 'raw', type: 'CDROM' });
    const list = [
      `IMAGE_ID=${cd}`,
      'TYPE=fs,SIZE=1,DEV_PREFIX=vd',
      `IMAGE_ID=${os}`,
      'TYPE=swap,SIZE=1',
    ];
    const disks = list.map((one) => `DISK=[${one}]`).join(' ');
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 ${disks} CONTEXT=[A=b]` });
    const { template } = sandbox.world.vms.get(vm)!;
    const made = template.vectors('DISK').map((disk) => [disk.get('DISK_ID'), disk.get('TARGET')]);
    expect(made).toEqual([
      ['0', 'hda'],
      ['1', 'vdb'],
      ['2', 'vda'],
      ['3', 'sda'],
    ]);
    const context = template.vectors('CONTEXT')[0];
    expect([context?.get('DISK_ID'), context?.get('TARGET')]).toEqual(['4', 'hdb']);
  });

  test('a VM of the stand-in keeps attributes of the user in USER_TEMPLATE and moves those that oned knows', async () => {
    const known =
      'CPU=0.5 MEMORY=64 VCPU=2 FEATURES=[ACPI=yes] OS=[ARCH=x86_64] GRAPHICS=[TYPE=VNC]';
    const vm = await sandbox.makeVm({
      template: `${known} DESCRIPTION="mine" LABELS=x`,
      name: 'n',
    });
    const { template, userTemplate } = sandbox.world.vms.get(vm)!;
    expect(userTemplate.all().map(({ name }) => name)).toEqual(['DESCRIPTION', 'LABELS']);
    const names = ['CPU', 'FEATURES', 'GRAPHICS', 'MEMORY', 'OS', 'VCPU'];
    expect(template.all().map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    expect(template.vectors('OS')[0]?.get('UUID')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    ['no MEMORY', 'CPU=1', 'MEMORY attribute must be a positive integer value.'],
    ['no CPU', 'MEMORY=1', 'CPU attribute must be a positive float or integer value.'],
    [
      'an unknown image',
      'CPU=1 MEMORY=1 DISK=[IMAGE_ID=7]',
      'DISK 0: Image with ID: 7 does not exist',
    ],
    [
      "someone else's image",
      'CPU=1 MEMORY=1 DISK=[IMAGE=x]',
      'DISK 0: User 0 does not own an image with name: x . Set IMAGE_UNAME or IMAGE_UID of owner in DISK.',
    ],
    [
      'a disk to boot from that it has not',
      'CPU=1 MEMORY=1 OS=[BOOT="disk0"]',
      'Wrong OS/BOOT value. Device with DISK_ID 0 not found',
    ],
    [
      'a token without OneGate',
      'CPU=1 MEMORY=1 CONTEXT=[TOKEN=YES]',
      'TOKEN set, but onegate endpoint was not defined in oned.conf.',
    ],
    [
      'a network that is not there',
      'CPU=1 MEMORY=1 NIC=[NETWORK=x]',
      'User 0 does not own a network with name: x . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.',
    ],
  ])('a VM of the stand-in is not made with %s', async (_what, template, reason) => {
    const id = Number(await mustCall(sandbox, 'one.template.allocate', `NAME=t ${template}`));
    const reply = await call(sandbox, 'one.template.instantiate', id, '', false, '', false);
    expect(reply).toEqual({
      ok: false,
      code: 16384,
      value: `[one.template.instantiate] Error allocating a new virtual machine template. ${reason}`,
    });
  });

  test.each([
    ['a later disk cannot be had', 'DISK=[IMAGE_ID=99]', 'Image with ID: 99 does not exist'],
    ['its boot order is wrong', 'OS=[BOOT="nic0"]', 'Device with NIC_ID 0 not found'],
  ])(
    'a VM of the stand-in gives back the images it had taken when %s',
    async (_when, more, reason) => {
      const id = await sandbox.makeImage({ name: 'os', file: raw, format: 'raw' });
      const template = `CPU=1 MEMORY=1 DISK=[IMAGE_ID=${id}] ${more}`;
      await expect(sandbox.makeVm({ template })).rejects.toThrow(reason);
      expect(imageState(id)).toBe(1);
    },
  );

  test('a VM of the stand-in is not started beside a running one with the same UUID', async () => {
    const template = 'CPU=1 MEMORY=64 OS=[UUID="26926f03-1ff4-446a-bdaa-43714656215c"]';
    await sandbox.makeVm({ template });
    await expect(sandbox.makeVm({ template })).rejects.toThrow('already exists with uuid');
  });

  test('a VM of the stand-in uses its images until it is terminated', async () => {
    const id = await sandbox.makeImage({ name: 'os', file: raw, format: 'raw' });
    const own = await sandbox.makeImage({
      name: 'own',
      file: raw,
      format: 'raw',
      persistent: true,
    });
    const disks = `DISK=[IMAGE_ID=${id}] DISK=[IMAGE_ID=${own}]`;
    const vm = await sandbox.makeVm({ template: `CPU=1 MEMORY=64 ${disks}` });
    expect([imageState(id), imageState(own)]).toEqual([2, 8]);
    await writeFile(`${sandbox.vmFolder(vm)}/disk.1`, 'changed by the guest');
    await mustCall(sandbox, 'one.vm.action', 'terminate-hard', vm);
    await sandbox.settle();
    expect([imageState(id), imageState(own)]).toEqual([1, 1]);
    const { source } = sandbox.world.images.get(own)!;
    expect(await readFile(source, 'utf8')).toBe('changed by the guest');
    await expect(stat(sandbox.vmFolder(vm))).rejects.toThrow('ENOENT');
  });

  test('a VM of the stand-in waits on hold until it is deployed to the datastore one names', async () => {
    const id = Number(await mustCall(sandbox, 'one.template.allocate', 'NAME=t CPU=1 MEMORY=1'));
    const vm = Number(
      await mustCall(sandbox, 'one.template.instantiate', id, 'n', true, '', false),
    );
    expect(sandbox.vmXml(vm)).toContain('<STATE>2</STATE>');
    await mustCall(sandbox, 'one.vm.deploy', vm, 0, false, 100);
    await sandbox.settle();
    expect(sandbox.vmXml(vm)).toContain('<STATE>3</STATE><LCM_STATE>3</LCM_STATE>');
    expect(sandbox.vmXml(vm)).toContain('<DS_ID>100</DS_ID>');
  });
});

describe('actions', () => {
  test('the VM actions of the stand-in: power off, undeploy and resume leave the disks alone', async () => {
    const vm = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64 DISK=[TYPE=fs,SIZE=1]' });
    await writeFile(`${sandbox.vmFolder(vm)}/disk.0`, 'guest data');
    const states: string[] = [];
    for (const action of ['poweroff', 'undeploy', 'resume']) {
      await mustCall(sandbox, 'one.vm.action', action, vm);
      await sandbox.settle();
      states.push(/<STATE>(\d+)/.exec(sandbox.vmXml(vm))?.[1] ?? '');
    }
    expect(states).toEqual(['8', '9', '3']);
    expect(await readFile(`${sandbox.vmFolder(vm)}/disk.0`, 'utf8')).toBe('guest data');
  });

  test('VM actions of the stand-in are refused in a state that does not allow them', async () => {
    const vm = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64', state: 'poweroff' });
    expect(await call(sandbox, 'one.vm.action', 'poweroff', vm)).toEqual({
      ok: false,
      code: 2048,
      value:
        '[one.vm.action] Error performing action "poweroff": This action is not available for state POWEROFF',
    });
  });
});

describe('locks', () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 1],
  ])('a lock of level %i is shown as %i by the stand-in', async (level, shown) => {
    const vm = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64' });
    await mustCall(sandbox, 'one.vm.lock', vm, level);
    expect(sandbox.vmXml(vm)).toContain(`<LOCK><LOCKED>${shown}</LOCKED><OWNER>0</OWNER>`);
  });

  test('a lock of another user cannot be taken off by the owner of the VM', async () => {
    const bob = { ...sandbox, authFile: await sandbox.addUser('bob') };
    const vm = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64', owner: 'bob' });
    await mustCall(sandbox, 'one.vm.lock', vm, 4);
    expect(await call(bob, 'one.vm.unlock', vm)).toEqual({
      ok: false,
      code: 2048,
      value: '[one.vm.unlock] Cannot unlock: Lock is owned by another user',
    });
  });
});

test('a recorded template makes the recorded VM', async () => {
  const fixture = (name: string): string =>
    readFileSync(join(import.meta.dirname, '../fixtures', name), 'utf8');
  const inside = (xml: string, name: string): string =>
    new RegExp(`<${name}>.*</${name}>`, 's').exec(prettyXml(xml))?.[0] ?? '';
  const image = async (name: string, mb: number, more: Partial<NewImage>): Promise<void> => {
    const file = join(dir, name);
    execFileSync('qemu-img', ['create', '-q', '-f', more.format ?? 'qcow2', file, `${mb}M`]);
    await sandbox.makeImage({
      name,
      file,
      format: 'qcow2',
      datastore: 101,
      template: 'DEV_PREFIX=vd',
      ...more,
    });
  };
  sandbox.world.reserveId('image', 6);
  await image('base-q', 256, {});
  sandbox.world.reserveId('image', 8);
  await image('cdq', 21, { format: 'raw', type: 'CDROM', template: 'DEV_PREFIX=sd' });
  sandbox.world.reserveId('image', 11);
  await image('data-q2', 50, { persistent: true });
  sandbox.world.reserveId('vm', 102);
  const recorded = fixture('vm/vm-running-qcow2-kvm.xml')
    .replaceAll('10.9.0.12', '10.9.0.10')
    .replaceAll('02:00:0a:09:00:0c', '02:00:0a:09:00:0a')
    .replace(/ *<ERROR>.*<\/ERROR>\n/, '')
    .replace('<TEMPLATE_ID><![CDATA[3]]>', '<TEMPLATE_ID><![CDATA[-1]]>');
  const template = inside(fixture('captures/template-3.xml'), 'TEMPLATE');

  const vm = await sandbox.makeVm({ template, systemDatastore: 100 });

  const made = sandbox
    .vmXml(vm)
    .replace(/(<UUID><!\[CDATA\[)[0-9a-f-]+/, '$126926f03-1ff4-446a-bdaa-43714656215c')
    .replaceAll(`${dir}/one`, '/var/lib/one');
  const sourceless = (xml: string): string => xml.replaceAll(/[0-9a-f]{32}/g, '');
  for (const name of ['TEMPLATE', 'USER_TEMPLATE']) {
    expect(sourceless(inside(made, name))).toBe(sourceless(inside(recorded, name)));
  }
});

describe('the XML of recorded VMs', () => {
  const folder = join(import.meta.dirname, '../fixtures/vm');
  test.each(readdirSync(folder))(
    'the XML of the recorded VM %s comes back byte for byte from the stand-in',
    (name) => {
      const recorded = readFileSync(join(folder, name), 'utf8').trimEnd();
      const vm = sandbox.addVm(recorded);
      expect(prettyXml(sandbox.vmXml(vm))).toBe(recorded);
    },
  );
});

test('a VM pool of the stand-in shows the VMs one may use, without those that are done', async () => {
  const bob = { ...sandbox, authFile: await sandbox.addUser('bob') };
  const mine = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64', name: 'mine' });
  const his = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64', name: 'his', owner: 'bob' });
  const gone = await sandbox.makeVm({ template: 'CPU=1 MEMORY=64', name: 'gone' });
  await mustCall(sandbox, 'one.vm.action', 'terminate', gone);
  await sandbox.settle();
  const ids = (xml: string): number[] =>
    [...xml.matchAll(/<VM><ID>(\d+)/g)].map((one) => Number(one[1]));
  const all = [-2, -1, -1, -1] as const;
  expect(ids(await mustCall(sandbox, 'one.vmpool.info', ...all))).toEqual([his, mine]);
  expect(ids(await mustCall(bob, 'one.vmpool.info', ...all))).toEqual([his]);
});
