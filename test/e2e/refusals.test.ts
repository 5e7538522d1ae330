// What must be refused: one clear line, the right exit code, nothing left, the lock as before.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sh, type Ended } from '../support/shell.ts';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let vmId: number;

beforeAll(async () => {
  world = await makeWorld();
  const image = join(world.folder, 'image.raw');
  await sh('truncate', '-s', '1M', image);
  const imageId = await world.one.id('one.image.allocate', `NAME=a PATH="${image}"`, 1, false);
  await world.sandbox.settle();
  const template = await world.one.id(
    'one.template.allocate',
    `NAME=a CPU=1 MEMORY=16 DISK=[IMAGE_ID=${imageId}]`,
  );
  vmId = await world.one.id('one.template.instantiate', template, 'a', false, '', false);
  await world.sandbox.settle();
  world.sandbox.powerOff(vmId);
});
afterAll(() => world.close());
afterEach(async () => {
  expect(await world.leftovers()).toEqual([]);
  expect(world.sandbox.vmXml(vmId)).not.toContain('<LOCKED>');
});

/** stderr without log lines of progress: what the person reads. */
function lastLine({ stderr }: Ended): string {
  return stderr.trim().split('\n').at(-1) ?? '';
}

async function refused(
  args: readonly string[],
  code: number,
  message: RegExp | string,
  options: Parameters<World['run']>[1] = {},
): Promise<void> {
  const ended = await world.run(args, options);
  expect({ code: ended.code, line: lastLine(ended) }).toEqual({
    code,
    line: expect.stringMatching(message) as unknown,
  });
  expect(ended.stdout).toBe('');
}

describe('wrong usage is refused with exit code 2', () => {
  test.each([
    [[], /which command/],
    [['explode'], /Unknown (argument|command): explode/],
    [['export'], /which VM/],
    [['export', 'eight'], /VM id must be a number, not 'eight'/],
    [['export', '-1'], /./],
    [['export', '8', '--colour'], /Unknown argument: colour/],
    [['export', '8', '--compress', 'rar'], /rar/],
    [['export', '8', '--compress', 'zstd:99'], /levels 1 to 19/],
    [['export', '8', '-l', 'root'], /--remote-user needs --remote-host/],
    [['export', '8', '-h', '-oProxyCommand=id'], /./],
    [['restore'], /./],
    [['restore', 'b', '--no-ip'], /--no-ip needs --restore-nics/],
    [['restore', 'b', '--volatile', 'maybe'], /volatile/],
    [['restore', 'b', '--disk', 'x'], /disk id must be a number/],
    [['export', '8', '--config', '/no/such/file'], /\/no\/such\/file/],
    [['export', '8', '-d', 'a', '-d', 'b'], /--destination-path was given more than once/],
    [['export', '8', '--endpoint', 'a', '--endpoint', 'b'], /--endpoint was given more than once/],
    [['export', '8', '--config', 'a', '--config', 'b'], /--config was given more than once/],
    [['export', '8', '-d', ''], /--destination-path is empty/],
    [['restore', 'b', '-n', 'a', '--name', 'b'], /--name was given more than once/],
    [['restore', 'b', '--volatile', 'image', '--volatile', 'fresh'], /--volatile was given more/],
    [['restore', 'b', '--staging-dir', 'a', '--staging-dir', 'b'], /--staging-dir was given more/],
    [['extract', 'b', '--disk', '0', '--disk', '1'], /--disk was given more than once/],
    [['cleanup', '--vm', '1', '--vm', '2'], /--vm was given more than once/],
  ] as const)('wrong usage is refused with exit code 2: %j', (args, message) =>
    refused(args, 2, message),
  );
});

describe('the XML on stdin', () => {
  test.each([
    ['', /input is empty/],
    ['hello', /./],
    ['<IMAGE><ID>1</ID></IMAGE>', /VM/],
    ['<VM><ID>8</ID>', /./],
    ['<!DOCTYPE VM [<!ENTITY x "y">]><VM><ID>8</ID></VM>', /document types/],
    ['<VM><ID>8</ID><STATE>8</STATE><LCM_STATE>0</LCM_STATE></VM>', /TEMPLATE/],
  ])("%j on stdin is refused with exit code 2 as it is no VM's XML", (input, message) =>
    refused(['export', '--stdin', '-L'], 2, message, { input }),
  );

  test('the XML on stdin of another VM than the one named is refused', async () => {
    const { xml } = await fileVm(world.datastores, 70, []);
    await refused(['export', '8', '--stdin', '-L'], 2, /of VM 70, not of VM 8/, { input: xml });
  });
});

describe('a VM whose disks are not on this machine', () => {
  test('a VM whose disks are not on this machine is refused with the host it was on last', async () => {
    const { xml } = await fileVm(world.datastores, 72, [{ id: 0 }]);
    const elsewhere = xml
      .replace('<HOSTNAME>localhost<', '<HOSTNAME>kvm1<')
      .replaceAll('<ID>72</ID>', '<ID>73</ID>');
    await refused(
      ['export', '--stdin', '-L'],
      4,
      /VM 73 was last on kvm1: try --remote-host kvm1$/,
      {
        input: elsewhere,
      },
    );
  });

  test('a VM whose disks are not on this machine is refused by --remote-host auto when its history names no valid host', async () => {
    const { xml } = await fileVm(world.datastores, 74, [{ id: 0 }]);
    const input = xml.replace('<HOSTNAME>localhost<', '<HOSTNAME>-oProxyCommand=id<');
    await refused(['export', '--stdin', '-L', '-h', 'auto'], 3, /names no valid host/, { input });
  });
});

describe('a VM that KVM does not run', () => {
  test.each([
    ['LXC', 'lxc', 8, 0],
    ['LXC', 'lxc', 3, 3],
    ['LXC', 'lxc', 9, 0],
    ['LXD', 'LXD', 3, 3],
    ['Firecracker', 'firecracker', 8, 0],
    ['vCenter', 'vcenter', 3, 3],
  ])(
    'a VM of %s (VM_MAD %s) in state %i/%i is refused before its host is asked',
    async (name, vmMad, state, lcmState) => {
      const { xml } = await fileVm(world.datastores, 75, [{ id: 0 }], { state, lcmState, vmMad });
      const input = xml.replace('<HOSTNAME>localhost<', '<HOSTNAME>cluster.invalid<');
      await refused(
        ['export', '--stdin', '-L', '-h', 'auto'],
        3,
        new RegExp(
          `^VM 75 is not run by KVM, but by ${name} \\(VM_MAD ${vmMad}\\); only VMs of KVM and QEMU can be exported$`,
        ),
        { input },
      );
    },
  );
});

describe('states', () => {
  test.each([
    [5, 0, 'SUSPENDED'],
    [4, 0, 'STOPPED'],
    [3, 2, 'BOOT'],
    [6, 0, 'DONE'],
    [1, 0, 'PENDING'],
  ])("a VM in state %i/%i is refused by the state's name %s", async (state, lcmState, name) => {
    const { xml } = await fileVm(world.datastores, 71, [], { state, lcmState });
    await refused(['export', '--stdin', '-L'], 3, new RegExp(`VM 71 is in state ${name}`), {
      input: xml,
    });
  });

  test('a VM in state BACKUP is left to OpenNebula', async () => {
    const { xml } = await fileVm(world.datastores, 71, [], { state: 3, lcmState: 69 });
    const message =
      /OpenNebula is backing up VM 71 \(BACKUP\); export it after the backup has ended/;
    await refused(['export', '--stdin', '-L'], 1, message, { input: xml });
  });

  test('a VM in state RUNNING is refused with the words of a libvirt that does not answer', async () => {
    const { xml, path } = await fileVm(world.datastores, 71, [{ id: 0 }], {
      state: 3,
      lcmState: 3,
    });
    await sh('truncate', '-s', '1M', path(0));
    const env = { ONEVMDUMP_LIBVIRT_URI: 'qemu+unix:///system?socket=/nowhere/libvirt-sock' };
    const message = /cannot find the domain one-71: virsh: /;
    await refused(['export', '--stdin', '-L'], 4, message, { input: xml, env });
  });

  test.each([
    [['--fs-freeze', 'never'], '--fs-freeze: "never" is none of agent, suspend, none'],
    [['--fs-freeze', 'none', '--require-freeze'], '--require-freeze cannot be met'],
  ])('the options %j of an export are refused', async (args, message) => {
    await refused(['export', '8', ...args], 2, new RegExp(message));
  });
});

describe('OpenNebula', () => {
  test('a VM that OpenNebula does not have is refused', () =>
    refused(['export', '999'], 6, /virtual machine \[999\]/));

  test('an export is refused when OpenNebula does not accept the password', async () => {
    const auth = join(world.folder, 'wrong_auth');
    await writeFile(auth, 'oneadmin:wrong\n');
    await refused(['export', String(vmId)], 6, /couldn't be authenticated/, {
      env: { ONE_AUTH: auth },
    });
  });

  test('an export is refused when OpenNebula cannot be reached', () =>
    refused(
      ['export', String(vmId), '--endpoint', 'http://127.0.0.1:9/RPC2'],
      6,
      /127\.0\.0\.1:9/,
    ));

  test('an export is refused when OpenNebula does not allow the user to lock the VM', async () => {
    const auth = await world.sandbox.addUser('bob');
    await refused(['export', String(vmId)], 6, /Not authorized/, { env: { ONE_AUTH: auth } });
  });
});

describe('disks', () => {
  const exportXml = (xml: string) => ({ input: xml });

  test('an export of a VM with missing disks names them', async () => {
    const { xml, path } = await fileVm(world.datastores, 72, [{ id: 3 }]);
    const ended = await world.run(['export', '--stdin', '-L'], exportXml(xml));
    expect([1, 4]).toContain(ended.code);
    expect(lastLine(ended)).toContain(path(3));
  });

  test('an export of a VM with a disk whose backing image is missing names both files', async () => {
    const { xml, path } = await fileVm(world.datastores, 73, [{ id: 0, format: 'qcow2' }]);
    const base = join(world.datastores, '1', 'gone');
    await sh('qemu-img', 'create', '-q', '-f', 'qcow2', base, '1M');
    await sh('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path(0));
    await rm(base);
    const ended = await world.run(['export', '--stdin', '-L'], exportXml(xml));
    expect([1, 4]).toContain(ended.code);
    expect(lastLine(ended)).toContain(base);
    expect(lastLine(ended)).toContain('disk');
  });

  test('an export refuses a disk whose backing file lies outside of the datastores', async () => {
    const { xml, path } = await fileVm(world.datastores, 74, [{ id: 0, format: 'qcow2' }]);
    const outside = join(world.folder, 'secret');
    await sh('truncate', '-s', '1M', outside);
    await sh('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', outside, '-F', 'raw', path(0));
    await refused(['export', '--stdin', '-L'], 3, /secret/, exportXml(xml));
  });

  test('an export refuses a disk with a json: backing file', async () => {
    const { xml, path } = await fileVm(world.datastores, 75, [{ id: 0, format: 'qcow2' }]);
    const backing = 'json:{"driver":"file","filename":"/etc/passwd"}';
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
      path(0),
      '1M',
    );
    await refused(['export', '--stdin', '-L'], 3, /json:/, exportXml(xml));
  });

  test('an export refuses a disk of an unknown format by its name', async () => {
    const { xml, path } = await fileVm(world.datastores, 76, [{ id: 0 }]);
    await sh('truncate', '-s', '1M', path(0));
    const vmdk = xml.replaceAll('>raw<', '>vmdk<');
    await refused(['export', '--stdin', '-L'], 3, /vmdk/, exportXml(vmdk));
  });

  test.each(['purefa', 'vcenter'])(
    'an export refuses a disk on TM_MAD %s by its name',
    async (tmMad) => {
      const { xml } = await fileVm(world.datastores, 77, [{ id: 0 }]);
      const other = xml.replaceAll('<TM_MAD>ssh<', `<TM_MAD>${tmMad}<`);
      await refused(['export', '--stdin', '-L'], 3, new RegExp(tmMad), exportXml(other));
    },
  );
});

describe('destinations', () => {
  test('an export refuses a destination that is missing', () =>
    refused(
      ['export', String(vmId), '-d', '/no/such/place/file'],
      2,
      /no folder \/no\/such\/place/,
    ));

  test('an export refuses a destination that is already there and leaves it as it is', async () => {
    const taken = join(world.folder, 'taken');
    await writeFile(taken, 'precious');
    await refused(['export', String(vmId), '-d', taken], 2, /exists already/);
    expect(await sh('cat', taken)).toBe('precious');
  });

  test('an export to a full destination fails without a trace', async () => {
    const full = join(world.folder, 'full');
    await mkdir(full);
    await sh('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', full);
    try {
      const { xml, path } = await fileVm(world.datastores, 78, [{ id: 0 }]);
      await sh('dd', 'if=/dev/urandom', `of=${path(0)}`, 'bs=1M', 'count=8', 'status=none');
      await refused(['export', '--stdin', '-L', '-d', full], 1, /no space/i, { input: xml });
      expect(await sh('ls', '-A', full)).toBe('');
    } finally {
      await sh('umount', full);
    }
  });
});

describe('restoring', () => {
  test('a restore of a file that is no bundle exits with 5', async () => {
    const file = join(world.folder, 'letter.txt');
    await writeFile(file, 'Dear Sir or Madam');
    await refused(['restore', file], 5, /not an onevmdump bundle/);
  });

  test('a restore of a missing bundle says that it is missing', async () => {
    const ended = await world.run(['restore', '/no/such/bundle']);
    expect(ended.code).not.toBe(0);
    expect(lastLine(ended)).toContain('/no/such/bundle');
  });
});
