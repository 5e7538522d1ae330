// The backup datastore driver as oned uses it: the built actions as child processes against the sandbox,
// with real disks, judged by foreign tools.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { qemuCompare } from '../support/qemu-compare.ts';
import { runToEnd, sh, type Ended } from '../support/shell.ts';
import {
  driver,
  makeBackupWorld,
  type BackupWorld,
  type StagedVm,
} from '../support/backup-world.ts';

let world: BackupWorld;
beforeAll(async () => {
  world = await makeBackupWorld({ ONEVMDUMP_COMPRESS: 'zstd' });
  await world.sandbox.addUser('alice');
});
afterAll(() => world.close());

async function backup(vm: StagedVm): Promise<string> {
  await anotherSecond();
  const { code, stdout, stderr } = await world.action('backup', vm.args, vm.input);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** A bundle's name has the second in it; oned never backs a VM up twice in one. */
const anotherSecond = () => new Promise((resolve) => setTimeout(resolve, 1001));

/** The backup image as oned makes it of the answer. */
function image(vm: StagedVm, source: string, more = ''): string {
  return `<IMAGE><ID>29</ID><UNAME>oneadmin</UNAME><SOURCE><![CDATA[${source}]]></SOURCE><FORMAT><![CDATA[raw]]></FORMAT><VMS><ID>${vm.id}</ID></VMS><BACKUP_INCREMENTS></BACKUP_INCREMENTS></IMAGE>${world.datastore}${more}`;
}

function restoreRequest(vm: StagedVm, source: string, template: string, to = 1): string {
  return image(
    vm,
    source,
    `<DESTINATION_DS_ID>${to}</DESTINATION_DS_ID><TEMPLATE>${template}</TEMPLATE>`,
  );
}

describe('backup', () => {
  let vm: StagedVm;
  beforeAll(async () => {
    vm = await world.makeVm({ format: 'raw' });
  });

  test('the backup action prints the bundle, its size in MiB and the format, and nothing else', async () => {
    expect(await backup(vm)).toMatch(new RegExp(`^onevmdump-${vm.id}-\\d+\\.tar\\.zst 1 raw\\n$`));
  });

  test('a backup keeps a raw disk raw, although it was staged as qcow2', async () => {
    const name = (await backup(vm)).split(' ')[0]!;
    const bundle = join(world.basePath, String(vm.id), name);
    const listed = await sh('tar', '--zstd', '-tvf', bundle);
    expect(listed).toMatch(/ 8388608 .* \.\/backup\.disk\.0$/m);
    const folder = join(world.folder, 'unpacked');
    await mkdir(folder, { recursive: true });
    await sh('tar', '--zstd', '-xf', bundle, '-C', folder);
    expect(await sh('cmp', join(folder, 'backup.disk.0'), vm.disk)).toBe('');
  });

  test('a backup holds the XML of the VM byte for byte, and what is known of the image', async () => {
    const name = (await backup(vm)).split(' ')[0]!;
    const bundle = join(world.basePath, String(vm.id), name);
    expect(await sh('tar', '--zstd', '-xOf', bundle, './vm.xml')).toBe(world.sandbox.vmXml(vm.id));
    const shown = await world.run(['show', bundle, '--json']);
    expect(shown.stdout).toContain('"source ');
    // No endpoint is known here, and no CLOUD_NAME is set.
    expect((await world.run(['show', bundle])).stdout).not.toContain('Cloud');
  });

  test('a backup of selected disks (DISK_IDS) names those that were not asked for, and restores to a template without them', async () => {
    const file = join(world.folder, 'second.raw');
    await sh('qemu-img', 'create', '-q', '-f', 'raw', file, '1M');
    const second = await world.sandbox.makeImage({
      ...{ name: 'second', file, datastore: 1, format: 'raw' as const, owner: 'oneadmin' },
    });
    const two = await world.makeVm({
      format: 'raw',
      more: `DISK=[IMAGE_ID=${second}]\nDISK=[TYPE=swap,SIZE=1]`,
    });
    const name = (await backup(two)).split(' ')[0]!;
    const bundle = join(world.basePath, String(two.id), name);
    const shown = await world.run(['show', bundle, '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({ leftOut: [1] });
    const asked = restoreRequest(two, name, '<USERNAME>oneadmin</USERNAME>');
    const { code, stdout } = await world.request('restore', asked);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+ \d+\n$/) });
    await world.sandbox.settle();
    const made = world.sandbox.world.templates.get(Number(stdout.split(' ')[0]))!;
    expect(made.template.toXml('TEMPLATE').match(/<DISK>/g)).toHaveLength(2);
  });

  test('the backup action takes the arguments of OpenNebula 6.6, without a job, and the XML that prebackup left', async () => {
    await anotherSecond();
    const args = vm.args.filter((_, index) => index !== 3);
    const { code, stdout, stderr } = await world.action('backup', args, world.datastore);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^onevmdump-\d+-\d+\.tar\.zst 1 raw\n$/);
  });

  test('a backup is made without OpenNebula, with a warning', async () => {
    await anotherSecond();
    const env = { ONE_XMLRPC: 'http://127.0.0.1:1/RPC2' };
    const { code, stderr } = await world.action('backup', vm.args, vm.input, { env });
    expect(code).toBe(0);
    expect(stderr).toMatch(/^WARNING: backup: nothing is known about the images .*\n$/);
  });

  test('a backup that fails says why before it warns of anything, as oned shows the beginning', async () => {
    const env = { ONE_XMLRPC: 'http://127.0.0.1:1/RPC2' };
    const args = vm.args.with(1, '0:3');
    const { code, stderr } = await world.action('backup', args, vm.input, { env });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /^VM \d+ has no disk 3\nWARNING: backup: nothing is known about the images/,
    );
  });

  describe('that cannot be made', () => {
    let before: string[];
    beforeEach(async () => {
      await anotherSecond();
      before = await world.bundlesThere();
    });

    async function expectRefused(
      args: readonly string[],
      input: string,
      words: RegExp,
    ): Promise<void> {
      const { code, stdout, stderr } = await world.action('backup', args, input);
      expect(code).not.toBe(0);
      expect(stdout).toBe('');
      expect(stderr).toMatch(words);
      expect(stderr.trimEnd()).not.toContain('\n');
      expect(await world.bundlesThere()).toEqual(before);
      expect(await world.leftovers()).toEqual([]);
    }

    test('a backup is refused for a disk that prebackup did not stage', async () => {
      await expectRefused(vm.args.with(1, '0:3'), vm.input, /VM \d+ has no disk 3/);
    });

    test('a backup is refused for a VM that KVM does not run', async () => {
      const input = vm.input.replace(/<VM_MAD>.*?<\/VM_MAD>/, '<VM_MAD>lxc</VM_MAD>');
      expect(input).not.toBe(vm.input);
      await expectRefused(vm.args, input, /^VM \d+ is not run by KVM, but by LXC/);
    });

    test('a backup is refused for a host that cannot be reached', async () => {
      const place = vm.args[0]!.replace('localhost', 'kvm1.invalid');
      await expectRefused(vm.args.with(0, place), vm.input, /cannot connect to kvm1\.invalid/);
    });

    test('a backup is refused for a VM with incremental backups', async () => {
      const backups = '<BACKUPS><BACKUP_CONFIG><MODE>INCREMENT</MODE></BACKUP_CONFIG></BACKUPS>';
      const input = vm.input
        .replace(/<BACKUPS>.*<\/BACKUPS>|<BACKUPS\/>/s, '')
        .replace('</VM>', `${backups}</VM>`);
      await expectRefused(vm.args, input, /set its backup mode to FULL/);
    });

    test('a backup is refused for a folder that is not the VM’s', async () => {
      const args = vm.args.with(0, `localhost:${world.datastores}/0/77`);
      await expectRefused(args, vm.input, /is not the folder of VM/);
    });

    test.each(['', 'x', '$(touch /tmp/x):/a', '-o:/a', 'localhost:relative'])(
      'a backup is refused for the place %j',
      async (place) => {
        await expectRefused(vm.args.with(0, place), vm.input, /is not of the form host:folder/);
      },
    );

    test('a backup is refused for a staged disk that names a backing file', async () => {
      const other = await world.makeVm({ format: 'raw' });
      const staged = join(other.args[0]!.replace(/^localhost:/, ''), 'backup/disk.0.0');
      await rm(staged);
      await sh(
        'qemu-img',
        'create',
        '-q',
        '-f',
        'qcow2',
        '-F',
        'raw',
        '-b',
        '/etc/hostname',
        '-u',
        staged,
        '1M',
      );
      await expectRefused(other.args, other.input, /\/etc\/hostname/);
    });

    test.each([
      [
        '<ONEVMDUMP_HOST>-oProxyCommand=x</ONEVMDUMP_HOST>',
        /"-oProxyCommand=x" is not a valid host name/,
      ],
      [
        '<ONEVMDUMP_USER>backup</ONEVMDUMP_USER>',
        /ONEVMDUMP_USER of the datastore needs ONEVMDUMP_HOST/,
      ],
    ])('a backup is refused for a datastore with %s', async (attribute, words) => {
      const input = vm.input.replace('<TEMPLATE>', `<TEMPLATE>${attribute}`);
      await expectRefused(vm.args, input, words);
    });

    test('a backup is refused for a BASE_PATH that is not a path', async () => {
      const input = vm.input.replace(/<BASE_PATH>.*?<\/BASE_PATH>/, '<BASE_PATH>here</BASE_PATH>');
      await expectRefused(vm.args, input, /BASE_PATH/);
    });

    test('a backup is refused for garbage on stdin', async () => {
      await expectRefused(vm.args, 'no XML', /./);
    });
  });

  describe('that ends in the middle', () => {
    let other: StagedVm;
    beforeAll(async () => {
      other = await world.makeVm({ format: 'raw' });
    });

    async function expectNothing(): Promise<void> {
      const there = await world.bundlesThere();
      expect(there.filter((name) => name.startsWith(String(other.id)))).toEqual([]);
      expect(await world.leftovers()).toEqual([]);
    }

    test('a backup that ends in the middle because a program fails leaves no bundle and no folder', async () => {
      const env = await world.compressorThat('echo no more >&2; exit 1');
      const { code, stdout, stderr } = await world.action('backup', other.args, other.input, {
        env,
      });
      expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
      expect(stderr).toMatch(/^.*no more.*\n$/);
      await expectNothing();
    });

    test('a backup that is cancelled leaves nothing, and the cancel waits for that', async () => {
      const env = await world.compressorThat('exec sleep 60');
      const running = world.action('backup', other.args, other.input, { env });
      await world.waitForPart();
      const cancel = await world.action('backup_cancel', [other.args[0]!, other.args[2]!]);
      expect(cancel).toEqual({ code: 0, stdout: '', stderr: '' });
      await expectNothing();
      expect(await running).toEqual({ code: 143, stdout: '', stderr: 'interrupted by SIGTERM\n' });
    });

    test('a backup that is cancelled does not take the next backup of the VM with it', async () => {
      const env = await world.compressorThat('exec sleep 60');
      const running = world.action('backup', other.args, other.input, { env });
      await world.waitForPart();
      const cancel = world.action('backup_cancel', [other.args[0]!, other.args[2]!]);
      expect((await running).code).toBe(143);
      // As soon as oned is done with the first.
      await anotherSecond();
      const slow = await world.compressorThat('sleep 2; all | real');
      const next = await world.action('backup', other.args, other.input, { env: slow });
      expect({ code: next.code, stderr: next.stderr }).toEqual({ code: 0, stderr: '' });
      expect((await cancel).code).toBe(0);
      await rm(join(world.basePath, String(other.id)), { recursive: true });
    });

    test('a backup that was killed is undone by the next one', async () => {
      const env = await world.compressorThat('exec sleep 60');
      let killed = 0;
      const running = world.action('backup', other.args, other.input, {
        env,
        started: (pid) => (killed = pid),
      });
      await world.waitForPart();
      process.kill(killed, 'SIGKILL');
      await running;
      await anotherSecond();
      const { code, stdout } = await world.action('backup', other.args, other.input);
      expect(code).toBe(0);
      const there = await world.bundlesThere();
      const own = there.filter((name) => name.startsWith(`${other.id}/`));
      expect(own).toEqual([`${other.id}/${stdout.split(' ')[0]!}`]);
      expect(await world.leftovers()).toEqual([]);
    });
  });
});

describe('backup_cancel', () => {
  test('backup_cancel ends the prebackup that still stages for this VM, and no other', async () => {
    const folder = join(world.folder, 'tm');
    await mkdir(folder, { recursive: true });
    const script = join(folder, 'prebackup_live');
    await writeFile(
      script,
      '#!/bin/bash\nsleep 60 <&- >/dev/null 2>&1 & trap "kill $!; exit 1" TERM; wait\n',
    );
    await chmod(script, 0o755);
    const place = `localhost:${world.datastores}/0/99`;
    const mine = runToEnd(script, [place, '0', 'one-99', '-', '99', '0']);
    let alive = true;
    let pid = 0;
    const others = runToEnd(script, [place.replace('99', '98'), '0', 'one-98', '-', '98', '0'], {
      started: (id) => (pid = id),
    }).then(() => (alive = false));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const cancel = await world.action('backup_cancel', [place, 'one-99'], '<VM/>');
    expect(cancel).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await mine).code).toBe(1);
    expect(alive).toBe(true);
    process.kill(pid, 'SIGKILL');
    await others;
  });

  test('backup_cancel succeeds when nothing runs', async () => {
    const place = `localhost:${world.datastores}/0/97`;
    const cancel = await world.action('backup_cancel', [place, 'one-97']);
    expect(cancel).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('restore', () => {
  let vm: StagedVm;
  let source: string;
  beforeAll(async () => {
    vm = await world.makeVm({ format: 'raw' });
    source = (await backup(vm)).split(' ')[0]!;
  });

  test('the restore action makes images and a template of the user who asked, with identical disks', async () => {
    const asked = restoreRequest(vm, source, '<USERNAME>alice</USERNAME>');
    const { code, stdout, stderr } = await world.request('restore', asked);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [, templateId, imageId] = /^(\d+) (\d+)\n$/.exec(stdout)!;
    await world.sandbox.settle();
    const restored = world.sandbox.world.images.get(Number(imageId))!;
    expect(restored).toMatchObject({
      uname: 'alice',
      state: 1,
      format: 'raw',
      type: 'OS',
      sizeMb: 8,
    });
    expect(world.sandbox.world.templates.get(Number(templateId))).toMatchObject({ uname: 'alice' });
    await qemuCompare(vm.disk, restored.source);
  });

  test('a restore from the datastore brings a qcow2 disk back as a stand-alone qcow2 image', async () => {
    const other = await world.makeVm({ format: 'qcow2', datastore: 101 });
    const name = (await backup(other)).split(' ')[0]!;
    const asked = restoreRequest(other, name, '<USERNAME>oneadmin</USERNAME>', 101);
    const { stdout } = await world.request('restore', asked);
    await world.sandbox.settle();
    const restored = world.sandbox.world.images.get(Number(stdout.trim().split(' ')[1]))!;
    expect(restored).toMatchObject({ state: 1, format: 'qcow2' });
    await qemuCompare(other.disk, restored.source);
    expect(await sh('qemu-img', 'info', restored.source)).not.toContain('backing file');
  });

  test('a restore of one disk from the datastore makes no template', async () => {
    const asked = restoreRequest(
      vm,
      source,
      '<USERNAME>alice</USERNAME><NAME>one disk</NAME><DISK_ID>0</DISK_ID>',
    );
    const { stdout } = await world.request('restore', asked);
    expect(stdout).toMatch(/^-1 \d+\n$/);
    const made = world.sandbox.world.images.get(Number(stdout.trim().split(' ')[1]))!;
    expect(made.name).toBe('one disk-disk-0');
  });

  test('the restore action registers a raw disk that begins like another format wrapped, so that nothing opens what it names', async () => {
    const other = await world.makeVm({ format: 'raw', begin: 'QFI\xfb\0\0\0\x03' });
    const name = (await backup(other)).split(' ')[0]!;
    const asked = restoreRequest(other, name, '<USERNAME>oneadmin</USERNAME>');
    const { stdout } = await world.request('restore', asked);
    await world.sandbox.settle();
    const restored = world.sandbox.world.images.get(Number(stdout.trim().split(' ')[1]))!;
    expect(restored).toMatchObject({ state: 1, format: 'qcow2' });
    await qemuCompare(other.disk, restored.source, 'raw', 'qcow2');
  });

  test('the restore action leaves nothing when oned refuses the template', async () => {
    const images = world.sandbox.world.images.size;
    world.sandbox.failNext(
      'one.template.allocate',
      512,
      'Template includes a restricted attribute NIC/MAC.',
    );
    const { code, stdout, stderr } = await world.request(
      'restore',
      restoreRequest(vm, source, '<USERNAME>alice</USERNAME><NAME>refused</NAME>'),
    );
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(stderr).toMatch(/restricted attribute NIC\/MAC/);
    await world.sandbox.settle();
    expect(world.sandbox.world.images.size).toBe(images);
    expect(await world.leftovers()).toEqual([]);
  });

  test('the restore action leaves no template of the user when oned refuses an image: oneadmin, who undoes it, sees all', async () => {
    const { images, templates } = world.sandbox.world;
    const before = [images.size, templates.size];
    world.sandbox.failNext('one.image.allocate', 8192, 'Not enough space in datastore');
    const { code, stderr } = await world.request(
      'restore',
      restoreRequest(vm, source, '<USERNAME>alice</USERNAME><NAME>full</NAME>'),
    );
    expect(code).toBe(6);
    expect(stderr).toContain('Not enough space in datastore');
    expect([images.size, templates.size]).toEqual(before);
    expect(await world.leftovers()).toEqual([]);
  });

  test('the restore action refuses a user who does not exist', async () => {
    const { code, stdout } = await world.request(
      'restore',
      restoreRequest(vm, source, '<USERNAME>mallory</USERNAME>'),
    );
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
  });
});

describe('a backup that is there', () => {
  let vm: StagedVm;
  let source: string;
  beforeAll(async () => {
    vm = await world.makeVm({ format: 'raw' });
    source = (await backup(vm)).split(' ')[0]!;
  });

  function list(name = source): Promise<Ended> {
    const input = `<DS_DRIVER_ACTION_DATA>${image(vm, name)}${world.sandbox.vmXml(vm.id)}</DS_DRIVER_ACTION_DATA>`;
    return world.action('ls', ['-i', '-1'], input);
  }

  async function address(): Promise<string> {
    const { code, stdout } = await list();
    expect(code).toBe(0);
    return (JSON.parse(stdout) as Record<string, string>)['0']!;
  }

  test('a finished backup is listed with addresses that a shell does not touch, and that give the disk', async () => {
    const url = await address();
    expect(url).toMatch(/^onevmdump:\/\/103\/onevmdump-[0-9a-z./-]+$/);
    const copy = join(world.folder, 'copy');
    const stream = join(driver, 'stream_disk');
    // As TM `restore` does, with the address unquoted.
    const pipe = `set -o pipefail; ${stream} ${url} | dd of=${copy} bs=64k conv=sparse 2>/dev/null`;
    const { code, stderr } = await runToEnd('bash', ['-c', pipe], { env: world.driverEnv });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await sh('cmp', copy, vm.disk)).toBe('');
  });

  describe('of a guest that wrote the header of a qcow2 image into its raw disk', () => {
    const secret = '/etc/machine-id';
    let disguised: StagedVm;
    let bundle: string;
    beforeAll(async () => {
      const header = join(world.folder, 'header.qcow2');
      await sh(
        'qemu-img',
        'create',
        '-q',
        '-f',
        'qcow2',
        '-u',
        '-b',
        secret,
        '-F',
        'raw',
        header,
        '1M',
      );
      const begin = (await readFile(header)).subarray(0, 512).toString('latin1');
      disguised = await world.makeVm({ format: 'raw', begin });
      bundle = (await backup(disguised)).split(' ')[0]!;
    });

    /** What TM `restore` gets of disk 0. */
    async function fetched(vmXml: string): Promise<string> {
      const input = `<DS_DRIVER_ACTION_DATA>${image(disguised, bundle)}${vmXml}</DS_DRIVER_ACTION_DATA>`;
      const listed = await world.action('ls', ['-i', '-1'], input);
      expect(listed).toMatchObject({ code: 0, stderr: '' });
      const url = (JSON.parse(listed.stdout) as Record<string, string>)['0']!;
      const copy = join(world.folder, 'fetched');
      const stream = `'${join(driver, 'stream_disk')}' ${url} >'${copy}'`;
      const ended = await runToEnd('bash', ['-c', stream], { env: world.driverEnv });
      expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
      return copy;
    }
    const withTm = (tm: string) =>
      world.sandbox.vmXml(disguised.id).replaceAll(/(<TM_MAD>).*?(?=<\/TM_MAD>)/g, `$1${tm}`);

    test.each(['fs_lvm_ssh', 'lvm', 'ceph', 'of_tomorrow'])(
      'a raw disk in a backup, into which the guest wrote the header of a qcow2 image, comes wrapped for TM %s, which looks at the content to know the format',
      async (tm) => {
        const copy = await fetched(withTm(tm));
        // As lib/lvm.rb of OpenNebula's TM drivers does, without -f.
        await sh('qemu-img', 'convert', '-O', 'raw', copy, `${copy}.raw`);
        expect(await sh('cmp', `${copy}.raw`, disguised.disk)).toBe('');
      },
    );

    test.each(['ssh', 'local', 'shared', 'qcow2'])(
      'a raw disk in a backup, into which the guest wrote the header of a qcow2 image, comes as it is for TM %s, which moves it into its place unread',
      async (tm) => {
        expect(await sh('cmp', await fetched(withTm(tm)), disguised.disk)).toBe('');
      },
    );

    test('a raw disk in a backup, into which the guest wrote the header of a qcow2 image, comes wrapped when nobody says for which VM', async () => {
      const copy = await fetched('');
      await sh('qemu-img', 'convert', '-O', 'raw', copy, `${copy}.raw`);
      expect(await sh('cmp', `${copy}.raw`, disguised.disk)).toBe('');
    });
  });

  test('a backup of a VM with a vTPM is listed with its state, in the form that OpenNebula 7.2 unpacks', async () => {
    const withTpm = (xml: string) =>
      xml.replace('<VMID>', '<TPM><MODEL>tpm-crb</MODEL></TPM><VMID>');
    const folder = join(vm.disk, '../backup');
    await mkdir(join(folder, 'tpm'));
    await writeFile(join(folder, 'tpm/tpm2-00.permall'), 'sealed');
    // As its own prebackup stages it.
    await sh('tar', '-C', folder, '-czf', join(folder, 'disk.tpm.0'), 'tpm');
    await anotherSecond();
    const made = await world.action('backup', vm.args, withTpm(vm.input));
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const [name = ''] = made.stdout.split(' ');
    const listed = async (xml: string) => {
      const input = `<DS_DRIVER_ACTION_DATA>${image(vm, name)}${xml}</DS_DRIVER_ACTION_DATA>`;
      const { stdout } = await world.action('ls', ['-i', '-1'], input);
      return JSON.parse(stdout) as Record<string, string>;
    };
    const xml = world.sandbox.vmXml(vm.id);
    const { tpm = '', ...disks } = await listed(withTpm(xml));
    expect(Object.keys(disks)).toEqual(['0']);
    const out = join(world.folder, 'tpm-out');
    await mkdir(out);
    const pipe = `set -o pipefail; '${join(driver, 'stream_disk')}' ${tpm} | tar zxf - -C '${out}'`;
    const ended = await runToEnd('bash', ['-c', pipe], { env: world.driverEnv });
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await readFile(join(out, 'tpm/tpm2-00.permall'), 'utf8')).toBe('sealed');
    // To OpenNebula before 7.2, and to its TM driver lvm, it would be a disk.
    expect(Object.keys(await listed(xml))).toEqual(['0']);
    const ofLvm = withTpm(xml).replaceAll(/(<TM_MAD>).*?(?=<\/TM_MAD>)/g, '$1lvm');
    expect(Object.keys(await listed(ofLvm))).toEqual(['0']);
  });

  test('a finished backup is listed without volatile disks, at which TM restore would end half way', async () => {
    const volatile = world.sandbox.vmXml(vm.id).replace(/<TYPE>.*?<\/TYPE>/, '<TYPE>fs</TYPE>');
    const input = `<DS_DRIVER_ACTION_DATA>${image(vm, source)}${volatile}</DS_DRIVER_ACTION_DATA>`;
    const listed = await world.action('ls', ['-i', '-1'], input);
    expect(listed).toEqual({ code: 0, stdout: '{}\n', stderr: '' });
  });

  test('a finished backup may be read at its beginning only, without an error', async () => {
    const pipe = `${join(driver, 'stream_disk')} ${await address()} | head -c 1000 | wc -c`;
    const { stdout, stderr } = await runToEnd('bash', ['-c', pipe], { env: world.driverEnv });
    expect({ stdout, stderr }).toEqual({ stdout: '1000\n', stderr: '' });
  });

  test("stat tells the size of a backup's disk in MiB", async () => {
    const asked = `<IMAGE><PATH>${await address()}</PATH></IMAGE>${world.datastore}`;
    expect(await world.request('stat', asked)).toEqual({ code: 0, stdout: '8\n', stderr: '' });
  });

  test('rm takes the driver data as the first argument, as OpenNebula 6.6 gives it', async () => {
    const asked = `<DS_DRIVER_ACTION_DATA><IMAGE><PATH>${await address()}</PATH></IMAGE>${world.datastore}</DS_DRIVER_ACTION_DATA>`;
    const args = [Buffer.from(asked).toString('base64'), '17'];
    expect(await world.action('stat', args)).toEqual({ code: 0, stdout: '8\n', stderr: '' });
  });

  test('a disk of a backup is not given to whoever makes up an address', async () => {
    const url = await address();
    const forged = [
      url.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
      url.replace('/0/disk/', '/1/disk/'),
      url.replace('/disk/', '/image/'),
      url.slice(0, url.lastIndexOf('.')),
      `onevmdump://103/${source}/0/disk`,
      `onevmdump://103/../../etc/passwd/0/disk/1.0123456789abcdef.${'0'.repeat(64)}`,
      '',
    ];
    for (const one of forged) {
      const { code, stdout, stderr } = await world.action('stream_disk', [one]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr.trimEnd()).not.toContain('\n');
    }
  });

  test.each([
    '../../../etc/passwd',
    '/etc/passwd',
    'onevmdump-1-1.tar.gz/..',
    'onevmdump-1-1.tar.gz\n',
    '-rf',
    '.',
    '$(touch x)',
  ])('a finished backup is not mixed up with %j', async (name) => {
    expect((await list(name)).code).toBe(2);
    const { code, stdout } = await world.request('rm', image(vm, name));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('a finished backup is removed, its folder with it, and once more without an error', async () => {
    const other = await world.makeVm({ format: 'raw' });
    const name = (await backup(other)).split(' ')[0]!;
    expect(await world.bundlesThere()).toContain(`${other.id}/${name}`);
    for (let time = 0; time < 2; time++) {
      const removed = await world.request('rm', image(other, name));
      expect(removed).toEqual({ code: 0, stdout: '', stderr: '' });
    }
    const there = await world.bundlesThere();
    expect(there.filter((one) => one.startsWith(String(other.id)))).toEqual([]);
    expect(there).toContain(`${vm.id}/${source}`);
  });

  test('a backup is not taken for removed when the datastore is not there', async () => {
    const elsewhere = image(vm, source).replace(
      world.basePath.replace('/datastores', '//datastores'),
      '/nowhere',
    );
    expect(elsewhere).toContain('/nowhere');
    const { code, stderr } = await world.request('rm', elsewhere);
    expect({ code, stderr }).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('/nowhere'),
    });
  });
});

test("monitor tells the space of the datastore's file system in MiB", async () => {
  const { code, stdout } = await world.request('monitor', world.datastore);
  expect(code).toBe(0);
  const [, used, total, free] = /^USED_MB=(\d+)\nTOTAL_MB=(\d+)\nFREE_MB=(\d+)\n$/.exec(stdout)!;
  const size = await sh('df', '-B1M', '--output=size', world.basePath);
  expect(Number(total)).toBe(Number(size.split('\n')[1]));
  expect(Number(used) + Number(free)).toBeLessThanOrEqual(Number(total));
});

test.each([
  'cp',
  'mkfs',
  'clone',
  'snap_delete',
  'snap_revert',
  'snap_flatten',
  'increment_flatten',
])('the datastore action %s is refused in one line', async (name) => {
  const { code, stdout, stderr } = await world.request(name, world.datastore);
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  expect(stderr).toMatch(new RegExp(`^onevmdump backup datastores have no ${name}: [^\\n]+\\n$`));
});
