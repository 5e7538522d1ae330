// Exports from a host with Ceph by ssh: what crosses the network, and what happens when the connection is cut.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { downCeph, upCeph, type CephLab } from './ceph.ts';
import { cutsOf, expectLost, exportWhileCut, goOn, type Cut } from './cuts.ts';
import { expectWriting, leftOfGuest, asBefore } from './export-scene.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { makeRemoteScene, nothingLeft, type RemoteScene } from './remote-scene.ts';
import { expectFewBytes } from './few-bytes.ts';
import { limits } from '../support/limits.ts';

let libvirt: LibvirtLab;
let lab: CephLab;
let scene: RemoteScene;

beforeAll(async () => {
  libvirt = await upLibvirt();
  lab = await upCeph();
  scene = await makeRemoteScene({ uri: libvirt.uri, datastores: lab.datastores });
  for (const vm of [lab.vm, lab.mixed]) {
    if (await vm.isRunning()) await vm.destroy();
    await scene.give(vm, [lab.keyfile]);
  }
});

afterAll(async () => {
  for (const vm of [lab.vm, lab.mixed]) if (await vm.isRunning()) await vm.destroy();
  await scene.close();
  if (lab.startedNow) await downCeph();
  if (libvirt.startedNow) await downLibvirt();
});

afterEach(async () => {
  await scene.removeBundles();
  await scene.undisturbed();
});

/** The snapshots of the images, as rbd lists them. */
async function snapshots(): Promise<string[]> {
  const images = [...lab.images, lab.mixedImage];
  return await Promise.all(images.map((image) => lab.rbd('snap', 'ls', image)));
}

async function expectNothingLeft(before: readonly string[]): Promise<void> {
  await goOn(scene.host);
  expect(await scene.left()).toEqual(nothingLeft);
  expect(await snapshots()).toEqual(before);
}

/** Minutes: by hand, as README.md here says. */
const each = process.env['ONEVMDUMP_LAB_EACH'] === '1';
const stopped: readonly Cut[] = [
  ['sshd is stopped', 'rbd', 'create', 'after'],
  ['sshd is stopped', 'rbd', 'export-diff', 'before'],
];

/** Where a backup job is cut, ssh-cut.lab.ts says. */
const byStorage = ['--snapshot', 'storage'];

describe('an export from a host with Ceph', () => {
  test.each(['vm', 'mixed'] as const)(
    'of an export from a host with Ceph (%s) little more than the data crosses the network, off and running',
    async (which) => {
      const vm = lab[which];
      const before = await snapshots();
      await expectFewBytes(scene, vm, `Ceph (${which}), off`);
      await scene.removeBundles();
      await vm.start();
      try {
        await expectFewBytes(scene, vm, `Ceph (${which}), running`);
      } finally {
        await vm.destroy();
      }
      await scene.removeBundles();
      await expectNothingLeft(before);
    },
  );
});

describe('an export of a running VM from a host with Ceph whose connection is cut', () => {
  let before: readonly string[];

  beforeAll(async () => {
    await lab.vm.start();
    before = await snapshots();
  });

  test.each<Cut>([
    ['ssh is killed', 'rbd', 'create', 'before'],
    ['ssh is killed', 'rbd', 'create', 'after'],
    ['sshd is killed', 'virsh', 'guest-fsfreeze-freeze', 'after'],
    ['sshd is killed', 'rbd', 'create', 'after'],
    ['sshd is killed', 'rbd', 'export-diff', 'before'],
    ['ssh is killed', 'rbd', 'export-diff', 'before'],
    ...(each ? stopped : []),
  ])(
    'an export of a running VM from a host with Ceph whose connection is cut (%s) around %s %s (%s) leaves nothing, and the guest goes on',
    async (...cut) => {
      const { ended, seconds } = await exportWhileCut(scene, lab.vm, cut, byStorage);
      expectLost(ended);
      expect(seconds * 1000).toBeLessThan(limits.soonMs);
      await expectNothingLeft(before);
      expect(await leftOfGuest(lab.vm)).toEqual(asBefore);
      await expectWriting(lab.vm);
    },
  );

  test('an export of a running VM from a host with Ceph whose connection is cut and that stays away names its snapshots, and cleanup removes them later', async () => {
    const act = async (): Promise<void> => {
      await scene.setAway(true);
      await cutsOf(scene.host)['ssh is killed']();
    };
    await scene.disturb({ program: 'rbd', word: 'export-diff', when: 'before', act });
    try {
      const { code, stderr } = await scene.exportOf(lab.vm, byStorage);
      expect(code).toBe(4);
      for (const image of [lab.images[0], lab.images[1], lab.images[3]]) {
        expect(stderr).toMatch(new RegExp(`on ${scene.sshd.host}: .*${image}@onevmdump-`));
      }
      expect(await lab.vm.isFrozen()).toBe(false);
      expect(await snapshots()).not.toEqual(before);
    } finally {
      await scene.setAway(false);
    }
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
    await expectNothingLeft(before);
  });
});
