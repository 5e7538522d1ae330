// Exports of a running VM whose scratch files have 64 MiB, while its guest overwrites far more: what has no room is the
// export, never the guest.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  asBefore,
  expectWriting,
  leftOfGuest,
  makeScene,
  reportOf,
  spaceWatchesOf,
  type ExportScene,
} from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { lifecycleOf } from './lifecycle.ts';
import { runProgram } from './program.ts';
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
  await vm.startLoad('/dev/vdc', gib, pause);
});

afterEach(async () => {
  await vm.stopLoad();
  await scene.removeBundles();
});

const gib = 1024;
/** After each piece that the guest overwrites, in microseconds. */
const pause = process.env['ONEVMDUMP_LAB_EACH'] === '1' ? 0 : 80_000;

/** Waits until the guest has written that many MiB more. */
async function loadWrites(mib: number): Promise<void> {
  const before = await vm.loadWritten();
  await until(`${vm.domain} has written ${mib} MiB more`, async () => {
    return (await vm.loadWritten()) - before >= mib;
  });
}

/**
 * Stops an export when QEMU has sent it what it has not read. @returns how many bytes
 */
async function stopWhileReading(pid: number): Promise<number> {
  let unread = 0;
  await until('the export is stopped while it reads', async () => {
    process.kill(pid, 'SIGSTOP');
    await sleep(200);
    unread = await unreadOf(pid);
    if (unread === 0) process.kill(pid, 'SIGCONT');
    return unread > 0;
  });
  return unread;
}

/** How many bytes a process has not read that it was sent on the socket of the VM's backup job: ss(8). */
async function unreadOf(pid: number): Promise<number> {
  const rows = (await runProgram('ss', ['-Hxp'])).split('\n').map((line) => line.split(/\s+/));
  const peers = rows.flatMap(([, , , , path = '', , , peer]) =>
    path.startsWith(vm.folder) && path.endsWith('.sock') ? [peer] : [],
  );
  const own = rows.filter(
    ([, , , , , port, , , users = '']) => peers.includes(port) && users.includes(`pid=${pid},`),
  );
  return own.reduce((sum, [, , received]) => sum + Number(received), 0);
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
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

  // QEMU, and the guest with it, would hang if the job ended while somebody is connected who does not read.
  test('an export of a running VM that was stopped (Ctrl-Z) while it read is killed, and does the guest no harm, when that overwrites more than the scratch files have room for', async () => {
    await vm.stopLoad();
    let unread = 0;
    const { code } = await scene.whileReading(vm, async (pid) => {
      unread = await stopWhileReading(pid);
      await vm.startLoad('/dev/vdc', gib, pause);
      await until('the export is killed', () => !isThere(pid));
      await expectUnharmed();
    });
    process.stderr.write(`stopped with ${unread} bytes of QEMU's unread\n`);
    expect(code).toBeNull();
    expect(await scene.onevmdump(['cleanup'])).toMatchObject({ code: 0 });
    await scene.removeBundles();
    await expectNothingLeft();
  });

  test('an export of a running VM has the free space watched anew when the process that does is killed, before its guest overwrites more than there is room for', async () => {
    await vm.stopLoad();
    const { code, stderr } = await scene.whileReading(vm, async () => {
      const [first, ...more] = await spaceWatchesOf(vm);
      expect({ first, more }).toEqual({ first: expect.any(Number) as unknown, more: [] });
      process.kill(first ?? 0, 'SIGKILL');
      await until('the space is watched anew', async () => {
        const now = await spaceWatchesOf(vm);
        return now.length === 1 && now[0] !== first;
      });
      await vm.startLoad('/dev/vdc', gib, pause);
    });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /WARNING: .* has ended: somebody has killed it; it is started anew\n(.*\n)*.* got low while disk/,
      ) as unknown,
    });
    await expectUnharmed();
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
