// Backups with the very arguments and stdin that were recorded of oned 6.10, for VMs that are powered off: the disks lie
// where the recordings say, in a mount namespace of the test's own.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { child, childrenOf, childText } from '../../lib/xml/xml.ts';
import { runToEnd, sh, type Ended } from '../support/shell.ts';

const calls = new URL('../fixtures/drivers/calls/', import.meta.url).pathname;
const drivers = new URL('../../dist/drivers', import.meta.url).pathname;
const location = '/var/lib/one';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp('/var/tmp/onevmdump-recorded-');
  await writeFile(join(folder, 'hosts'), '127.0.0.1 localhost kvm1\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the built action that a recording is of, with its arguments and stdin. */
async function call(name: string): Promise<Ended> {
  const argv = (await readFile(join(calls, `${name}.argv`), 'utf8')).matchAll(/^argv\d+=(.*)$/gm);
  const [program = '', ...args] = [...argv].map(([, word]) => word ?? '');
  const kind = program.includes('/tm/') ? 'tm' : 'datastore';
  const action = join(drivers, kind, program.slice(program.lastIndexOf('/') + 1));
  const script = `set -e
mount -t tmpfs none /var/lib
mkdir ${location}
mount --bind '${folder}/one' ${location}
mount --bind '${folder}/hosts' /etc/hosts
exec "$@"`;
  return await runToEnd('unshare', ['-m', 'bash', '-c', script, 'bash', action, ...args], {
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      ONEVMDUMP_STATE_DIR: join(folder, 'state'),
      // Nobody answers: nothing is known about the images.
      ONE_XMLRPC: 'http://127.0.0.1:1/RPC2',
      ONE_AUTH: '/dev/null',
    },
    input: await readFile(join(calls, `${name}.stdin`)),
  });
}

/** Makes the disk 0 of the VM of a recording; with TM qcow2 a chain, as OpenNebula has it. @returns a raw copy */
async function makeDisk(name: string, vmFolder: string): Promise<string> {
  const vm = parseXml(await readFile(join(calls, `${name}.stdin`)), name);
  const template = child(vm, 'TEMPLATE');
  const disk = template && childrenOf(template, 'DISK')[0];
  const source = join(
    folder,
    'one',
    ((disk && childText(disk, 'SOURCE')) ?? '').slice(location.length),
  );
  const path = join(folder, 'one/datastores', vmFolder, 'disk.0');
  for (const one of [source, path]) await mkdir(dirname(one), { recursive: true });
  const raw = join(folder, `${name}.raw`);
  await sh('qemu-img', 'create', '-q', '-f', 'qcow2', source, '16M');
  await sh('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 64k 1M', '-c', 'write -P 9 5M 300k', source);
  if (name.includes('qcow2')) {
    await mkdir(`${path}.snap`);
    await symlink('disk.0.snap/0', path);
    // The image as the namespace has it.
    const image = join(location, source.slice(join(folder, 'one').length));
    const overlay = join(`${path}.snap`, '0');
    await sh(
      'qemu-img',
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-F',
      'qcow2',
      '-b',
      image,
      overlay,
      '16M',
    );
    await sh('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', source, raw);
  } else {
    await sh('cp', source, path);
    await sh('qemu-io', '-f', 'qcow2', '-c', 'write -P 3 9M 64k', path);
    await sh('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, raw);
  }
  return raw;
}

describe.each([
  [
    'ssh',
    '0/105',
    '0097-tm-ssh-prebackup',
    '0098-datastore-probe-backup',
    '0099-tm-ssh-postbackup',
    '102',
  ],
  [
    'qcow2',
    '100/106',
    '0106-tm-qcow2-prebackup',
    '0107-datastore-rsync-backup',
    '0108-tm-qcow2-postbackup',
    '103',
  ],
])('the recorded calls of a backup on TM %s', (tm, vmFolder, pre, backup, post, datastore) => {
  test(`the recorded calls of a backup (${tm}) make a bundle with the very disk, and leave nothing`, async () => {
    const raw = await makeDisk(pre, vmFolder);
    const basePath = join(folder, 'one/datastores', datastore);
    await mkdir(basePath, { recursive: true });
    const before = await readdir(join(folder, 'one/datastores', vmFolder), { recursive: true });

    const begun = await call(pre);
    expect({ ...begun, stderr: '' }).toEqual({ code: 0, stdout: '', stderr: '' });
    const made = await call(backup);
    expect(made.code).toBe(0);
    const vmId = vmFolder.split('/')[1] ?? '';
    expect(made.stdout).toMatch(new RegExp(`^onevmdump-${vmId}-\\d+\\.tar\\.gz 1 raw\\n$`));
    expect(await call(post)).toEqual({ code: 0, stdout: '', stderr: '' });

    const after = await readdir(join(folder, 'one/datastores', vmFolder), { recursive: true });
    expect(after).toEqual(before);
    expect(await readdir(join(folder, 'state/journal'))).toEqual([]);
    expect(await readdir(join(folder, 'state/prepared'))).toEqual([]);
    const out = await mkdtemp(join(folder, 'out-'));
    await sh('tar', '-xzf', join(basePath, vmId, made.stdout.split(' ')[0] ?? ''), '-C', out);
    const disk = join(out, 'backup.disk.0');
    await sh('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', raw, disk);
    const [xml, given] = [
      await readFile(join(out, 'vm.xml')),
      await readFile(join(calls, `${pre}.stdin`)),
    ];
    expect(xml.equals(given)).toBe(true);
  });
});
