// What happens when the connection to a host, or to the machine that gets the bundle, is cut: docs/remote.md.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cutsOf, expectLost, exportWhileCut, goOn, lastWords, type Cut } from './cuts.ts';
import { asBefore, expectWriting, leftOfGuest } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { makeRemoteScene, nothingLeft, type RemoteScene } from './remote-scene.ts';
import { limits } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: RemoteScene;
let vm: LabVm;

beforeAll(async () => {
  lab = await upLibvirt();
  scene = await makeRemoteScene(lab);
  vm = lab.qcow2;
  if (await vm.isRunning()) await vm.powerOff();
  await scene.give(vm, [join(lab.datastores, '101')]);
  await vm.start();
});

afterAll(async () => {
  await vm.powerOff();
  await scene.close();
  await vm.start();
  if (lab.startedNow) await downLibvirt();
});

afterEach(async () => {
  await scene.removeBundles();
  await scene.undisturbed();
});

/** Minutes: by hand, as README.md here says. */
const each = process.env['ONEVMDUMP_LAB_EACH'] === '1';

async function expectNothingLeft(): Promise<void> {
  for (const account of [scene.host, scene.store]) await goOn(account);
  expect(await scene.left()).toEqual(nothingLeft);
  const files = (await readdir(vm.folder)).filter((name) => name.startsWith('onevmdump-'));
  expect(files).toEqual([]);
  expect(await leftOfGuest(vm)).toEqual(asBefore);
}

describe('when the connection to the host is cut', () => {
  const cases: readonly Cut[] = [
    ['ssh is killed', 'virsh', 'guest-fsfreeze-freeze', 'before'],
    ['ssh is killed', 'virsh', 'guest-fsfreeze-freeze', 'after'],
    ['ssh is killed', 'virsh', 'backup-begin', 'before'],
    ['ssh is killed', 'virsh', 'backup-begin', 'after'],
    ['sshd is killed', 'virsh', 'guest-fsfreeze-freeze', 'after'],
    ['sshd is killed', 'virsh', 'backup-begin', 'after'],
    ['sshd is stopped', 'virsh', 'guest-fsfreeze-freeze', 'after'],
    ...(each ? ([['sshd is stopped', 'virsh', 'backup-begin', 'after']] as const) : []),
  ];
  test.each(cases)(
    'when the connection to the host is cut (%s) around %s %s (%s), the guest goes on, and nothing is left',
    async (...cut) => {
      const { ended, seconds } = await exportWhileCut(scene, vm, cut);
      expect(seconds * 1000).toBeLessThan(limits.soonMs);
      expectLost(ended);
      await expectNothingLeft();
      await expectWriting(vm);
    },
  );

  const inData = ['ssh is killed', 'sshd is killed', ...(each ? (['sshd is stopped'] as const) : [])] as const; // prettier-ignore
  test.each(inData)(
    'when the connection to the host is cut (%s) while data is read, no bundle appears, and nothing is left',
    async (how) => {
      const ended = await scene.whileReading(vm, () => cutsOf(scene.host)[how]());
      process.stderr.write(`${how} in the data: code ${ended.code}: ${lastWords(ended)}\n`);
      expect(ended.code).toBe(4);
      // Between two reads, such as when the next disk is opened, the connection alone is named.
      expect(lastWords(ended)).toMatch(
        /^(?:cannot read disk \d of VM 8: )?the connection to \S+ was lost/,
      );
      await expectNothingLeft();
      await expectWriting(vm);
    },
  );

  test('when the connection to the host is cut and the host stays away, what is left is named and kept, and cleanup removes it later', async () => {
    const ended = await scene.whileReading(vm, async () => {
      await scene.setAway(true);
      await cutsOf(scene.host)['ssh is killed']();
    });
    expect(ended.code).toBe(4);
    expect(ended.stderr).toContain(`on ${scene.sshd.host}: a backup job of`);
    expect(await readdir(scene.bundles)).toEqual([]);
    expect(await vm.isFrozen()).toBe(false);
    await scene.setAway(false);
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
    await expectNothingLeft();
    await expectWriting(vm);
  });
});

describe('when the connection to the machine that gets the bundle is cut', () => {
  const cases: readonly Cut[] = [
    ['ssh is killed', 'ln', '-T', 'before'],
    ['ssh is killed', 'ln', '-T', 'after'],
    ['sshd is killed', 'ln', '-T', 'before'],
    ['sshd is killed', 'ln', '-T', 'after'],
    ['ssh is killed', 'rm', '-f', 'after'],
    ['sshd is killed', 'rm', '-f', 'before'],
    ...(each ? ([['sshd is stopped', 'ln', '-T', 'after']] as const) : []),
  ];
  test.each(cases)(
    'when the connection to the machine that gets the bundle is cut (%s) at its rename, around %s %s (%s), the bundle is whole, or none appears',
    async (how, program, word, when) => {
      await scene.disturb({ program, word, when, act: () => cutsOf(scene.store)[how]() });
      const ended = await scene.exportOf(vm);
      process.stderr.write(`${how}, ${when} ${program}: code ${ended.code}: ${lastWords(ended)}\n`);
      if (ended.code === 0) {
        const { bundle } = JSON.parse(ended.stdout) as { bundle: string };
        expect(await readdir(scene.bundles)).toEqual([scene.pathOf(bundle).split('/').at(-1)]);
        const verified = await scene.onevmdump(['verify', scene.pathOf(bundle)]);
        expect(verified).toMatchObject({ code: 0 });
        await scene.removeBundles();
      }
      await expectNothingLeft();
    },
  );

  const inData = ['ssh is killed', 'sshd is killed', ...(each ? (['sshd is stopped'] as const) : [])] as const; // prettier-ignore
  test.each(inData)(
    'when the connection to the machine that gets the bundle is cut (%s) while data is written, no bundle appears, and nothing is left',
    async (how) => {
      const ended = await scene.whileReading(vm, () => cutsOf(scene.store)[how]());
      process.stderr.write(`${how} in the data: code ${ended.code}: ${lastWords(ended)}\n`);
      expect(ended.code).toBe(4);
      await expectNothingLeft();
      await expectWriting(vm);
    },
  );
});
