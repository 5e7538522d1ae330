// What oned's three calls of a backup do to a VM whose disks are files, on a real libvirt.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ended } from '../support/shell.ts';
import {
  watchdogsOf,
  asBefore,
  expectWriting,
  leftOfGuest,
  makeScene,
  virshThat,
  type ExportScene,
} from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { sameInstant } from './numbers.ts';
import { actionsOf, backUp, type OnedActions, type OnedBackup } from './oned-backup.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: ExportScene;
let vm: LabVm;
let basePath: string;
let folderBefore: string[];

beforeAll(async () => {
  lab = await upLibvirt();
  vm = lab.qcow2;
  await vm.start();
  scene = await makeScene({
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
    // Nobody answers: nothing is known about the images.
    ONE_XMLRPC: 'http://127.0.0.1:1/RPC2',
    ONE_AUTH: '/dev/null',
  });
  basePath = join(scene.folder, 'backups');
  folderBefore = (await readdir(vm.folder)).sort();
});
afterAll(async () => {
  await scene.close();
  if (lab.startedNow) await downLibvirt();
});
afterEach(async () => {
  await rm(basePath, { recursive: true, force: true });
});

async function actions(more: Partial<OnedBackup> = {}): Promise<OnedActions> {
  return actionsOf({
    xml: await vm.xml(),
    host: 'localhost',
    location: lab.datastores,
    diskIds: [0, 1, 3],
    basePath,
    env: scene.env,
    ...more,
  });
}

/** The bundle that oned is told of. */
function bundleOf({ code, stdout, stderr }: Ended): string {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^onevmdump-8-\d+\.tar\.gz \d+ raw\n$/);
  return join(basePath, '8', stdout.split(' ')[0] ?? '');
}

async function expectAsBefore(bundles = 0): Promise<void> {
  expect(await leftOfGuest(vm)).toEqual(asBefore);
  expect((await readdir(vm.folder)).sort()).toEqual(folderBefore);
  expect(await scene.leftHere()).toMatchObject({ journals: [] });
  expect(await readdir(join(scene.folder, 'state/prepared')).catch(() => [])).toEqual([]);
  const files = await readdir(basePath, { recursive: true }).catch(() => []);
  expect(files.filter((name) => name.includes('.'))).toHaveLength(bundles);
  await expectWriting(vm);
}

describe('a backup of a running VM', () => {
  test('a backup of a running VM holds both file systems clean and of one point in time, and leaves nothing', async () => {
    const bundle = bundleOf(await backUp(await actions()));
    const { vda, vdb } = await scene.numbersIn(bundle);
    expect([vda.clean, vdb.clean]).toEqual([true, true]);
    expect(sameInstant(vda, vdb)).toBe(true);
    await expectAsBefore(1);
    const { stdout } = await scene.onevmdump(['show', bundle, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ consistency: { level: 'agent' } });
  });

  test('a backup of a running VM has the point in time of prebackup, although backup comes later, with nothing staged', async () => {
    const one = await actions();
    expect(await one.pre()).toMatchObject({ code: 0, stdout: '' });
    const then = await vm.lastNumber();
    expect(await vm.isFrozen()).toBe(false);
    const staged = (await readdir(vm.folder)).filter((name) => !folderBefore.includes(name));
    expect(staged.every((name) => name.startsWith('onevmdump-'))).toBe(true);
    await sleep(2000);
    const bundle = bundleOf(await one.backup());
    const { vda } = await scene.numbersIn(bundle);
    expect(Math.abs(vda.last - then)).toBeLessThan(30);
    expect(await vm.lastNumber()).toBeGreaterThan(vda.last);
    expect(await one.post()).toEqual({ code: 0, stdout: '', stderr: '' });
    await expectAsBefore(1);
  });

  test('a backup of a running VM is released by postbackup when backup failed, and a second postbackup is fine', async () => {
    const one = await actions();
    expect((await one.pre()).code).toBe(0);
    expect(await one.post()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await one.post()).toEqual({ code: 0, stdout: '', stderr: '' });
    await expectAsBefore();
  });

  test('a backup of a running VM is kept by cleanup only while oned is known to need it', async () => {
    const one = await actions();
    expect((await one.pre()).code).toBe(0);
    const { code, stderr } = await scene.onevmdump(['cleanup']);
    expect(code).toBe(1);
    expect(stderr).toContain('it is not known whether OpenNebula still needs it');
    expect(await vm.virsh('domjobinfo', vm.domain)).toContain('Backup');
    await one.post();
    await expectAsBefore();
  });

  test('a backup of a running VM that never ended is undone by the next one', async () => {
    const one = await actions();
    expect((await one.pre()).code).toBe(0);
    const { stderr, ...ended } = await backUp(await actions());
    expect(stderr).toContain('which OpenNebula did not end');
    bundleOf({ ...ended, stderr });
    await expectAsBefore(1);
  });

  test('a backup of a running VM is refused when the agent does not answer and FS_FREEZE=AGENT, and made with NONE', async () => {
    await vm.stopAgent();
    try {
      const { code, stderr } = await backUp(await actions());
      expect(code).toBe(1);
      expect(stderr).toContain('cannot be frozen');
      bundleOf(await backUp(await actions({ fsFreeze: 'NONE' })));
    } finally {
      await vm.startAgent();
    }
    await expectAsBefore(1);
  });

  test('a backup of a running VM that is cancelled while prebackup waits for the agent leaves nothing', async () => {
    await vm.hangAgent();
    const env = { ...scene.env };
    let begun = (): void => undefined;
    const running = new Promise<void>((resolve) => (begun = resolve));
    const one = await actions({ env, started: () => begun() });
    try {
      const ended = backUp(one);
      await running;
      await sleep(2500);
      expect(await one.cancel()).toMatchObject({ code: 0, stdout: '' });
      expect(await ended).toMatchObject({ code: 143, stdout: '' });
    } finally {
      await vm.resumeAgent();
    }
    await expectAsBefore();
  });

  test('a backup of a running VM that is cancelled in the data leaves no bundle, and the cancel waits for that', async () => {
    const one = await actions({ env: { ...scene.env, ONEVMDUMP_COMPRESS: 'gzip:9' } });
    const ended = backUp(one);
    await partAppears();
    expect(await one.cancel()).toMatchObject({ code: 0, stdout: '' });
    expect(await readdir(join(basePath, '8')).catch(() => [])).toEqual([]);
    expect(await ended).toMatchObject({ code: 143, stdout: '' });
    await expectAsBefore();
  });

  test('a backup of a running VM of which prebackup is killed when the job has begun is undone by postbackup', async () => {
    const kill = 'if [[ " $* " == *" backup-begin "* ]]; then kill -KILL "$PPID"; fi';
    const path = await virshThat(join(scene.folder, 'bin'), { after: kill });
    const { code, stdout } = await backUp(await actions({ env: { ...scene.env, ...path } }));
    expect({ code, stdout }).toEqual({ code: null, stdout: '' });
    // Frozen when it was killed: its watchdog thaws the guest and ends.
    await until('the watchdogs end', async () => (await watchdogsOf(vm)).length === 0);
    await expectAsBefore();
  });

  test('a backup of a running VM of which backup is killed in the data is undone by postbackup', async () => {
    const one = await actions({
      env: { ...scene.env, ONEVMDUMP_COMPRESS: 'gzip:9' },
      started(action, pid) {
        if (action === 'datastore/backup') {
          void partAppears().then(() => process.kill(pid, 'SIGKILL'));
        }
      },
    });
    const { code, stdout } = await backUp(one);
    expect({ code, stdout }).toEqual({ code: null, stdout: '' });
    await expectAsBefore();
  });
});

describe('a backup of a VM that is powered off', () => {
  beforeAll(async () => {
    vm = lab.ssh;
    if (await vm.isRunning()) await vm.powerOff();
  });

  test('a backup of a VM that is powered off has the disks as they are, and leaves nothing', async () => {
    const one = actionsOf({
      xml: await vm.xml(),
      host: 'localhost',
      location: lab.datastores,
      diskIds: [0, 3],
      basePath,
      env: scene.env,
    });
    const { code, stdout } = await backUp(one);
    expect(code).toBe(0);
    const bundle = join(basePath, '9', stdout.split(' ')[0] ?? '');
    const shown = await scene.onevmdump(['show', bundle, '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      consistency: { level: 'offline' },
      disks: [{ id: 0 }, { id: 3 }],
    });
    expect(await scene.leftHere()).toMatchObject({ journals: [] });
  });
});

async function partAppears(): Promise<void> {
  const begun = async (): Promise<boolean> => {
    const names = await readdir(basePath, { recursive: true }).catch(() => []);
    return names.some((name) => name.endsWith('.part'));
  };
  await until('a bundle is begun', begun, 10);
}
