// Disks that are block devices (TM dev), with real loop devices.
import { describe, expect, test } from '@jest/globals';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnsupportedError } from '../../lib/report/errors.ts';
import type { Run } from '../../lib/run/run.ts';
import { withHostAdvice } from '../../lib/storage/wrong-machine.ts';
import { snapshotDisks } from '../../lib/storage/point-in-time.ts';
import { planDumps } from '../../lib/storage/registry.ts';
import type { VmSnapshot } from '../../lib/storage/storage.ts';
import type { Disk, Vm } from '../../lib/vm/vm.ts';
import { fakeLibvirt } from '../support/fake-libvirt.ts';
import { hasLoopDevices, withLoopDevice } from '../support/loop-device.ts';
import { wholeDisk } from '../support/nbd-servers.ts';
import {
  disk,
  inWorld,
  MiB,
  rawFile,
  settingsWith,
  vm,
  type World,
} from '../support/storage-world.ts';

const whereThereAreDevices = hasLoopDevices ? describe : describe.skip;

const deviceDisk = (source: string | undefined, facts: Partial<Disk> = {}): Disk =>
  disk(0, { type: 'BLOCK', tmMad: 'dev', source, clone: false, persistent: true, ...facts });

interface Scene {
  readonly world: World;
  /** The file behind the device. */
  readonly file: string;
  readonly device: string;
  readonly fix: (
    facts?: Partial<Vm>,
    one?: Partial<Disk>,
    run?: Partial<Run>,
  ) => Promise<VmSnapshot>;
}

/** VM 7 is off, and its disk 0 is a device of 4 MiB. */
async function inScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  await inWorld(async (world) => {
    const file = join(world.outside, 'behind');
    await rawFile(file, 4 * MiB, [[MiB, 8192]]);
    await withLoopDevice(file, 4 * MiB, async (device) => {
      symlinkSync(device, join(world.vmFolder, 'disk.0'));
      await body({
        ...{ world, file, device },
        fix: (facts = {}, one = {}, run = {}) =>
          snapshotDisks(planDumps(vm([deviceDisk(device, one)], facts), new Map()), {
            ...world.run,
            ...run,
          }),
      });
    });
  });
}

/** The program has opened what it will open, and has said so. */
async function whileOpen(
  [program, ...args]: readonly [string, ...string[]],
  body: (child: ChildProcess) => Promise<void>,
): Promise<void> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  try {
    await once(child.stdout, 'data');
    await body(child);
  } finally {
    child.stdin.end();
    child.kill();
    await ended;
  }
}

const openedByShell = (device: string, seconds = 600): [string, ...string[]] => [
  ...(['bash', '-c', `exec 5<>"$1"; echo open; exec sleep "$2"`, 'bash', device] as const),
  String(seconds),
];

describe('the plan of a disk that is a block device', () => {
  test.each([
    ['in another state', {}, { state: 3, lcmState: 4 }, 'in state MIGRATE'],
    ['declared as qcow2', { format: 'qcow2' }, {}, 'which is raw, but declared as qcow2'],
    ['without a path', { source: 'sdc' }, {}, 'has no SOURCE that is the path of a block device'],
    ['of a VM that never ran', {}, { history: undefined }, 'was never deployed'],
  ])('a disk that is a block device is refused %s', (_, one, facts, why) => {
    const plan = (): unknown => planDumps(vm([deviceDisk('/dev/sdc', one)], facts), new Map());
    expect(plan).toThrow(UnsupportedError);
    expect(plan).toThrow(why);
  });
});

whereThereAreDevices('a block device of a VM that is off', () => {
  test('a block device of a VM that is off is read to its last byte', () =>
    inScene(async ({ fix, file }) => {
      const snapshot = await fix();
      expect(snapshot.consistency.level).toBe('offline');
      const reader = await snapshot.disks[0]!.open();
      expect((await wholeDisk(reader)).equals(readFileSync(file))).toBe(true);
      await reader.close();
      await snapshot.requireUnwritten();
    }));

  test('a block device of a VM that is off is refused while it is mounted', () =>
    inScene(async ({ fix, device, world }) => {
      execFileSync('mkfs.ext4', ['-q', '-F', device]);
      const folder = join(world.outside, 'mounted');
      mkdirSync(folder);
      execFileSync('mount', [device, folder]);
      try {
        await expect(fix()).rejects.toThrow(
          `disk 0 of VM 7 is in use, although the VM is POWEROFF: ${device} is mounted on ${folder} on this machine. Its guest may be running in spite of that; see who has it open: fuser -v ${device}`,
        );
      } finally {
        execFileSync('umount', [folder]);
      }
    }));

  test('a block device of a VM that is off is refused while a process has it open', () =>
    inScene(({ fix, device }) =>
      whileOpen(openedByShell(device), async ({ pid }) => {
        await expect(fix()).rejects.toThrow(`${device} is open in process ${pid} (sleep) on this`);
      }),
    ));

  test('a block device of a VM that is off is refused while QEMU has it open for writing, by its locks', () =>
    inScene(({ fix, device }) => {
      const command = 'echo open; exec qemu-io -f raw "$1"';
      return whileOpen(['bash', '-c', command, 'bash', device], async () => {
        await expect(fix()).rejects.toThrow(`${device} is open for writing on this machine`);
      });
    }));

  test('a block device of a VM that is off is read when a program only looks into it for a moment', () =>
    inScene(({ fix, device }) =>
      whileOpen(openedByShell(device, 1), async () => {
        expect((await fix()).consistency.level).toBe('offline');
      }),
    ));

  test('a block device of a VM that is off is refused afterwards when it was written to meanwhile', () =>
    inScene(async ({ fix, device }) => {
      const snapshot = await fix();
      execFileSync('dd', ['if=/dev/zero', `of=${device}`, 'bs=4k', 'count=1', 'oflag=direct'], {
        stdio: 'ignore',
      });
      await expect(snapshot.requireUnwritten()).rejects.toThrow(
        `disk 0 of VM 7 was written to while it was being read: ${device} on this machine`,
      );
    }));

  test('a block device of a VM that is off is refused afterwards when its guest was started meanwhile', () =>
    inScene(async ({ fix, device }) => {
      const snapshot = await fix();
      await whileOpen(openedByShell(device), async () => {
        await expect(snapshot.requireUnwritten()).rejects.toThrow('is in use, although the VM is');
      });
    }));

  test('a block device that the VM may only read can be in use', () =>
    inScene(({ fix, device }) =>
      whileOpen(openedByShell(device), async () => {
        const snapshot = await fix({}, { type: 'CDROM', readonly: true });
        await snapshot.requireUnwritten();
      }),
    ));
});

const elsewhere = {
  ...{ seq: 0, stime: undefined, tmMad: 'shared', datastoreId: 0 },
  hostname: 'node2.invalid',
};

whereThereAreDevices('the path of a block device', () => {
  test('the path of a block device is not followed on another machine than that of the VM, where it may be another device', () =>
    inScene(async ({ world, device }) => {
      const planned = vm([deviceDisk(device)], { history: elsewhere });
      const work = withHostAdvice(planned, world.run, () =>
        snapshotDisks(planDumps(planned, new Map()), world.run),
      );
      await expect(work).rejects.toThrow(
        /^disk 0 of VM 7 is the device \/dev\/loop\d+ of node2\.invalid, where the VM was last; on this machine this path may be another device\. .*: try --remote-host node2\.invalid$/,
      );
    }));

  test('the path of a block device is followed on any machine when it has its serial number, also for an undeployed VM without a folder here', () =>
    inScene(async ({ world, device }) => {
      const path = `/dev/disk/by-id/onevmdump-test-${process.pid}`;
      const made = mkdirSync('/dev/disk/by-id', { recursive: true });
      symlinkSync(device, path);
      unlinkSync(join(world.vmFolder, 'disk.0'));
      try {
        const planned = vm([deviceDisk(path)], { history: elsewhere, state: 9 });
        const { disks } = await snapshotDisks(planDumps(planned, new Map()), world.run);
        expect(disks).toHaveLength(1);
      } finally {
        unlinkSync(path);
        if (made !== undefined) rmSync(made, { recursive: true });
      }
    }));

  test('the path of a block device that does not exist is named', () =>
    inScene(async ({ fix }) => {
      await expect(fix({}, { source: '/dev/nowhere' })).rejects.toThrow(
        'disk 0 of VM 7 is missing: there is no device /dev/nowhere on this machine',
      );
    }));

  test('the path of a block device is refused when the link in the VM’s folder leads elsewhere', () =>
    inScene(async ({ fix, world, device }) => {
      const link = join(world.vmFolder, 'disk.0');
      unlinkSync(link);
      symlinkSync('/dev/null', link);
      await expect(fix()).rejects.toThrow(
        `disk 0 of VM 7 is ${device} for OpenNebula, but ${link} leads to /dev/null on this machine`,
      );
      unlinkSync(link);
      await expect(fix()).rejects.toThrow(`${link} leads to nothing`);
    }));

  test('the path of a block device is refused when it is that of a file', () =>
    inScene(async ({ fix, world }) => {
      const file = join(world.outside, 'no device');
      writeFileSync(file, 'text');
      unlinkSync(join(world.vmFolder, 'disk.0'));
      symlinkSync(file, join(world.vmFolder, 'disk.0'));
      await expect(fix({}, { source: file })).rejects.toThrow(
        `${file} is not a block device on this machine`,
      );
    }));
});

whereThereAreDevices('a block device of a running VM', () => {
  const running = { state: 3, lcmState: 3, deployId: 'one-7' };

  test.each(['auto', 'storage'] as const)(
    'a block device of a running VM is fixed by a backup job of QEMU with --snapshot %s, because it has no snapshots',
    (way) =>
      inScene(async ({ world, device, file }) => {
        const link = join(world.vmFolder, 'disk.0');
        const libvirt = fakeLibvirt({
          name: 'one-7',
          disks: [{ target: 'vda', file: link, format: 'raw', type: 'block' }],
        });
        const run = {
          ...world.run,
          runner: libvirt.runner,
          settings: settingsWith({ SCRATCH_MIN_MB: '1' }),
        };
        const plans = planDumps(vm([deviceDisk(device)], running), new Map());
        const { disks, consistency } = await snapshotDisks(plans, run, {
          ...{ freeze: { mode: 'agent', required: false }, way },
        });
        expect(consistency.level).toBe('agent');
        expect(disks.map(({ id, layout }) => [id, layout])).toEqual([[0, { format: 'raw' }]]);
        expect(libvirt.calls).toContain('backup-begin');
        expect(readFileSync(file)).toHaveLength(4 * MiB);
      }),
  );

  test('a block device of a running VM is refused when libvirt has another disk', () =>
    inScene(async ({ fix, device }) => {
      const disks = [{ target: 'vda', file: '/dev/null', format: 'raw', type: 'block' }];
      const { runner } = fakeLibvirt({ name: 'one-7', disks });
      await expect(fix(running, {}, { runner })).rejects.toThrow(
        `disk 0 of VM 7 (vda) is ${device} for OpenNebula, but /dev/null for libvirt`,
      );
    }));

  test('a CD-ROM that is a block device of a running VM is read directly', () =>
    inScene(async ({ fix, file }) => {
      const snapshot = await fix(running, { type: 'CDROM', readonly: true });
      const reader = await snapshot.disks[0]!.open();
      expect((await wholeDisk(reader)).equals(readFileSync(file))).toBe(true);
      await reader.close();
    }));
});
