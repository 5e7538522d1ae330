// That nobody stops a guest for an export whose disks are on Ceph, on LVM and in a file. Its host is user-mode Linux with
// one processor.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { downCeph, upCeph, type CephLab } from './ceph.ts';
import { asBefore, makeScene, reportOf, type ExportScene } from './export-scene.ts';
import { clockLine, whileClockRuns } from './guest-clock.ts';
import { downLibvirt, upLibvirt, type LibvirtLab } from './libvirt.ts';
import { exportOn, leftOn, prepareHost, tidyHost, withBundle } from './lvm-host.ts';
import { downLvm, upLvm, type LvmLab } from './lvm.ts';
import { readNumbers, sameInstant } from './numbers.ts';
import { upThreeStorages, type ThreeStorages } from './three-storages.ts';

let libvirt: LibvirtLab;
let ceph: CephLab;
let lvm: LvmLab;
let scene: ExportScene;
let three: ThreeStorages | undefined;

beforeAll(async () => {
  // Makes the guest's kernel.
  libvirt = await upLibvirt();
  ceph = await upCeph();
  lvm = await upLvm();
  for (const other of [lvm.thick, lvm.thin]) if (await other.isRunning()) await other.powerOff();
  await prepareHost(lvm);
  scene = await makeScene({});
  three = await upThreeStorages(lvm, ceph, scene.folder);
  await three.vm.stopAgent();
});

afterAll(async () => {
  await three?.close();
  await scene.close();
  await tidyHost(lvm);
  if (lvm.startedNow) await downLvm();
  if (ceph.startedNow) await downCeph();
  if (libvirt.startedNow) await downLibvirt();
});

describe('an export of a running VM with disks on Ceph, on LVM and in a file, whose guest has no agent', () => {
  test.each([
    [[], 'crash', 0],
    [['--fs-freeze', 'suspend'], 'suspend', 20],
  ] as const)(
    'an export (%j) of a running VM with disks on Ceph, on LVM and in a file has all at one point in time (%s), and pauses it only on request',
    async (args, level, leastMs) => {
      if (!three) throw new Error('the VM does not run');
      const { vm } = three;
      const { result, clock } = await whileClockRuns(vm, async () =>
        reportOf(await exportOn(lvm, vm, { args })),
      );
      process.stderr.write(`three storages ${args.join(' ')}: ${clockLine(clock)}\n`);
      expect(result.consistency.level).toBe(level);
      const { frozenMs } = result.consistency;
      // The clock comes by ssh, from a host with one slow processor.
      expect(clock.pausedMs).toBeGreaterThan(leastMs - 20);
      expect(clock.pausedMs).toBeLessThan(frozenMs + 100);
      await withBundle(lvm, result.bundle, async (out) => {
        const [a, b, c] = [
          await readNumbers(join(out, 'backup.disk.0'), 'raw'),
          await readNumbers(join(out, 'backup.disk.1'), 'raw'),
          await readNumbers(join(out, 'backup.disk.2'), 'raw'),
        ];
        expect([sameInstant(a, b), sameInstant(a, c), sameInstant(b, c)]).toEqual([
          true,
          true,
          true,
        ]);
      });
      expect(await leftOn(lvm)).toBe('');
      expect((await vm.virsh('domstate', vm.domain)).trim()).toBe(asBefore.state);
    },
  );
});
