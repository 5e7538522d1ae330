// Exports of a running VM whose scratch files have 64 MiB, while its guest overwrites far more: what has no room is the
// export, never the guest.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  asBefore,
  expectWriting,
  leftOfGuest,
  makeScene,
  reportOf,
  type ExportScene,
} from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { lifecycleOf } from './lifecycle.ts';
import type { Ended } from '../support/shell.ts';
import { until } from '../support/limits.ts';

let lab: LibvirtLab;
let scene: ExportScene;
let vm: LabVm;
let filesBefore: readonly string[];

beforeAll(async () => {
  lab = await upLibvirt();
  scene = await makeScene({
    ONEVMDUMP_DATASTORE_LOCATION: lab.datastores,
    ONEVMDUMP_LIBVIRT_URI: lab.uri,
    // Of 64 MiB there are never 10 % of its disks free.
    ONEVMDUMP_SCRATCH_PERCENT: '0',
    ONEVMDUMP_SCRATCH_MIN_MB: '16',
  });
  vm = lab.small;
  filesBefore = await readdir(vm.folder);
  await vm.start();
});

afterAll(async () => {
  if (await vm.isRunning()) await vm.destroy();
  await scene.close();
  if (lab.startedNow) await downLibvirt();
});

beforeEach(async () => {
  await vm.startLoad('/dev/vdc', gib);
  // Only what has data is kept when it is overwritten.
  await loadWrites(gib);
  await vm.stopLoad();
  // Some 40 MiB a second, so that the space gets low before it is full. By hand as fast as the guest can, which fills it in
  // the 0.2 s between two looks at it: then QEMU stops the guest.
  await vm.startLoad('/dev/vdc', gib, process.env['ONEVMDUMP_LAB_EACH'] === '1' ? 0 : 80_000);
});

afterEach(async () => {
  await vm.stopLoad();
  await scene.removeBundles();
});

const gib = 1024;

/** Waits until the guest has written that many MiB more. */
async function loadWrites(mib: number): Promise<void> {
  const before = await vm.loadWritten();
  await until(`${vm.domain} has written ${mib} MiB more`, async () => {
    return (await vm.loadWritten()) - before >= mib;
  });
}

async function expectNothingLeft(): Promise<void> {
  expect(await leftOfGuest(vm)).toEqual(asBefore);
  expect(await scene.left()).toEqual({ journals: [], parts: [], bundles: [] });
  expect(await readdir(vm.folder)).toEqual(filesBefore);
}

/** Its kernel saw no error, no write failed, and it writes on. */
async function expectUnharmed(): Promise<void> {
  await loadWrites(gib);
  expect(await vm.kernelErrors()).toBe(0);
  await expectWriting(vm);
}

describe('an export of a running VM whose scratch files have too little room', () => {
  test('an export of a running VM whose guest overwrites more than the scratch files have room for fails, and the guest never sees an error', async () => {
    let ended: Ended | undefined;
    const events = await lifecycleOf(lab, vm, async () => {
      ended = await scene.exportOf(vm, ['--compress', 'gzip:9']);
    });
    // QEMU stops a guest for which there is no room in a scratch file, and the watch has it go on.
    process.stderr.write(`little room: ${events.join(', ') || 'the guest was never stopped'}\n`);
    const { code, stderr } = ended ?? {};
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('got low while disk') as unknown,
    });
    await expectUnharmed();
    await expectNothingLeft();
  });

  test('a killed export of a running VM whose guest overwrites more than the scratch files have room for does the guest no harm', async () => {
    await scene.whileReading(vm, (pid) => process.kill(pid, 'SIGKILL'));
    await expectUnharmed();
    // Who ended the job looks after the guest for some seconds more.
    const asItWas = async (): Promise<boolean> =>
      isDeepStrictEqual(await leftOfGuest(vm), asBefore);
    await until(`the job of ${vm.domain} is over`, asItWas, 500);
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0 });
    await scene.removeBundles();
    await expectNothingLeft();
  });

  // QEMU, and the guest with it, would hang if the job ended while somebody is connected who does not read. If the export
  // is connected then, it is killed.
  test('an export of a running VM that was stopped (Ctrl-Z) does the guest no harm when that overwrites more than the scratch files have room for', async () => {
    const { code } = await scene.whileReading(vm, async (pid) => {
      process.kill(pid, 'SIGSTOP');
      await expectUnharmed();
      try {
        process.kill(pid, 'SIGCONT');
      } catch (error) {
        expect(error).toMatchObject({ code: 'ESRCH' });
      }
    });
    process.stderr.write(`stopped: exit code ${code ?? 'of SIGKILL'}\n`);
    expect([null, 1]).toContain(code);
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0 });
    await scene.removeBundles();
    await expectNothingLeft();
  });

  test('an export of a running VM whose guest overwrites little succeeds although the scratch files have little room', async () => {
    await vm.stopLoad();
    reportOf(await scene.exportOf(vm));
    await scene.removeBundles();
    await expectNothingLeft();
    await vm.startLoad('/dev/vdc', gib);
  });
});
