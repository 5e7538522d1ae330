// Exports by ssh: the libvirt lab as a host behind a real sshd under an account of its own, and another account for
// bundles. contract-files.lab.ts has what every export must do; here is what ssh adds.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { runToEnd, sh } from '../support/shell.ts';
import { asBefore, expectWriting, leftOfGuest, onevmdump, reportOf } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { runProgram } from './program.ts';
import { makeRemoteScene, nothingLeft, type RemoteScene } from './remote-scene.ts';
import { expectFewBytes } from './few-bytes.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: RemoteScene;

beforeAll(async () => {
  lab = await upLibvirt();
  scene = await makeRemoteScene({ ...lab, bundlesHere: true });
  for (const vm of [lab.qcow2, lab.ssh]) if (await vm.isRunning()) await vm.powerOff();
  await scene.give(lab.qcow2, [join(lab.datastores, '101')]);
  await scene.give(lab.ssh);
  await lab.qcow2.start();
});

afterAll(async () => {
  await lab.qcow2.powerOff();
  await scene.close();
  await lab.qcow2.start();
  if (lab.startedNow) await downLibvirt();
});

afterEach(() => scene.removeBundles());

/** The dumps are what the disks are, by qemu-img. */
async function expectSameBytes(vm: LabVm, bundle: string): Promise<void> {
  await scene.extracted(bundle, async (out) => {
    for (const [id, format] of [[0, 'qcow2'], [1, 'raw'], [2, 'raw'], [3, 'qcow2']] as const) {
      const args = ['compare', '-U', '-f', format, '-F', format];
      await runProgram('qemu-img', [...args, vm.diskPath(id), join(out, `backup.disk.${id}`)]);
    } // prettier-ignore
  });
}

async function expectNothingLeft(vm: LabVm): Promise<void> {
  await scene.removeBundles();
  expect(await scene.left()).toEqual(nothingLeft);
  const files = (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-'));
  expect(files).toEqual([]);
  if (await vm.isRunning()) expect(await leftOfGuest(vm)).toEqual(asBefore);
}

describe('an export from a host', () => {
  test('an export from a host holds the very bytes of a running VM, and little more than its data crosses the network', async () => {
    const vm = lab.qcow2;
    await vm.pauseWriter();
    try {
      const { bundle } = await expectFewBytes(scene, vm, 'files, running', [
        '--fs-freeze',
        'suspend',
      ]);
      await expectSameBytes(vm, bundle);
    } finally {
      await vm.continueWriter();
    }
    await expectNothingLeft(vm);
  });

  test('an export from a host of a VM that is powered off has little more than its data cross the network', async () => {
    const { bundle } = await expectFewBytes(scene, lab.ssh, 'files, off');
    await expectSameBytes(lab.ssh, bundle);
    await expectNothingLeft(lab.ssh);
  });

  test('an export from a host takes the host from the VM’s history when told so', async () => {
    const { sshd, host, env } = scene;
    const xml = (await lab.qcow2.xml()).replace(
      /<HOSTNAME>.*?<\/HOSTNAME>/,
      `<HOSTNAME>${sshd.host}</HOSTNAME>`,
    );
    expect(xml).toContain(sshd.host);
    const words = ['export', '--stdin', '-L', '-h', 'auto', '-l', host.name];
    const ended = await runToEnd(onevmdump, words, { env, input: xml });
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\/.*tar.gz\n$/) as unknown,
    });
    await expectNothingLeft(lab.qcow2);
  });

  test('an export from a host to another account’s machine has the bundle there, and only there, whatever its folder is called', async () => {
    const { sshd, store } = scene;
    const folder = join(scene.folder, `b 'a' "b" $(touch canary) ; & \\x ü`);
    await mkdir(folder);
    await sh('chown', store.owner, folder);
    const to = ['--destination-host', sshd.host, '--destination-user', store.name, '-d', folder];
    const { bundle, size } = reportOf(await scene.exportOf(lab.qcow2, to));
    const path = scene.pathOf(bundle);
    expect(bundle).toBe(`${store.name}@${sshd.host}:${path}`);
    expect(await readdir(folder)).toEqual([path.slice(folder.length + 1)]);
    expect((await sh('stat', '-c', '%U %a %s', path)).trim()).toBe(`${store.name} 600 ${size}`);
    expect((await scene.numbersIn(bundle)).vda.clean).toBe(true);
    expect(await findCanaries()).toBe('');
    await expectNothingLeft(lab.qcow2);
  });

  test('an export from a host with quotes, blanks and commands in the datastores’ path runs nothing of it', async () => {
    const location = join(scene.folder, `d 'a' "b" $(touch canary) ; & \\x ü`);
    await symlink(lab.datastores, location);
    const env = { ONEVMDUMP_DATASTORE_LOCATION: location };
    const { bundle } = reportOf(await scene.exportOf(lab.qcow2, [], { env }));
    expect((await scene.numbersIn(bundle)).vda.clean).toBe(true);
    expect(await findCanaries()).toBe('');
    await expectNothingLeft(lab.qcow2);
  });

  test.each([
    [
      'DEPLOY_ID',
      (text: string) => text.replace(/<DEPLOY_ID>.*?</, '<DEPLOY_ID>one-8; touch CANARY<'),
    ],
    [
      'DEPLOY_ID with a quote',
      (text: string) => text.replace(/<DEPLOY_ID>.*?</, "<DEPLOY_ID>'$(touch CANARY)'<"),
    ],
    [
      'TARGET',
      (text: string) => text.replaceAll(/<TARGET>.*?</g, "<TARGET>vda'; touch CANARY; '<"),
    ],
    [
      'SOURCE',
      (text: string) =>
        text.replaceAll(
          /<SOURCE>.*?</g,
          "<SOURCE>/x'; touch CANARY; '`touch CANARY`$(touch CANARY)<",
        ),
    ],
    [
      'NAME',
      (text: string) =>
        text.replace(/<NAME>.*?</, "<NAME>'; touch CANARY; $(touch CANARY)\n`touch CANARY`<"),
    ],
    ['TM_MAD', (text: string) => text.replaceAll(/<TM_MAD>.*?</g, '<TM_MAD>qcow2;touch CANARY<')],
  ])('an export from a host with a hostile %s runs nothing', async (_, change) => {
    // A folder where the host's account could make it.
    const canary = join(lab.qcow2.folder, 'CANARY');
    const xml = change(await lab.qcow2.xml()).replaceAll('CANARY', canary);
    expect(xml).toContain(canary);
    await scene.exportOf(lab.qcow2, [], { xml });
    expect(await readdir(lab.qcow2.folder)).not.toContain('CANARY');
    await expectNothingLeft(lab.qcow2);
  });

  test('an export from a host with a hostile HOSTNAME connects to nobody', async () => {
    const canary = join(scene.folder, 'CANARY');
    const host = `-oProxyCommand=touch ${canary}`;
    const xml = (await lab.qcow2.xml()).replace(/<HOSTNAME>.*?</, `<HOSTNAME>${host}<`);
    const words = ['export', '--stdin', '-L', '-h', 'auto'];
    const ended = await runToEnd(onevmdump, words, { env: scene.env, input: xml });
    expect(ended.code).toBe(3);
    expect(await readdir(scene.folder)).not.toContain('CANARY');
  });

  test('an export from a host whose command is killed while the guest is frozen thaws it within seconds, and cleanup removes the rest', async () => {
    const vm = lab.qcow2;
    let pid = 0;
    await scene.disturb({
      ...{ program: 'virsh', word: 'guest-fsfreeze-freeze', when: 'after' },
      act: () => Promise.resolve(process.kill(pid, 'SIGKILL')),
    });
    const { code } = await scene.exportOf(vm, [], { started: (started) => (pid = started) });
    await scene.undisturbed();
    expect(code).toBe(null);
    await until('the guest is thawed', async () => !(await vm.isFrozen()), 500);
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    await expectNothingLeft(vm);
    await expectWriting(vm);
  });
});

/** Files that a command in a name would have made. */
async function findCanaries(): Promise<string> {
  return (await sh('find', scene.folder, scene.sshd.folder, '-name', 'canary*')).trim();
}
