import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import { undoActivation, undoVolumeSnapshot } from '../../lib/storage/lvm/undo.ts';
import { quiet } from '../support/nbd-servers.ts';
import { fakeLvm, type FakeLvm, type FakeVolume } from './fake-lvm.ts';

const lvmWith = (
  volumes: FakeVolume | readonly FakeVolume[],
  meddle?: (line: string) => void,
): FakeLvm =>
  fakeLvm(localRunner(quiet), {
    group: 'vg',
    volumes: Array.isArray(volumes) ? volumes : [volumes as FakeVolume],
    ...(meddle ? { meddle } : {}),
  });

const own = { group: 'vg', name: 'onevmdump-1234-0', origin: 'lv-one-7-0' };
const other = { group: 'vg', name: 'lv-one-7-0' };
const origin: FakeVolume = { name: 'lv-one-7-0', mb: 4, active: true };
const pool: FakeVolume = { name: 'lv-one-7-pool', mb: 8, isPool: true, data: 10, metadata: 10 };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-lvm-undo-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Starts a program of that name, which runs for two seconds and then does its work. */
async function whileRunning(program: string, argument: string, work: () => void): Promise<void> {
  const script = join(folder, program);
  await writeFile(script, '#!/bin/sh\nsleep 2\n', { mode: 0o755 });
  await once(spawn(script, [argument]).once('exit', work), 'spawn');
}

describe('the undo of a snapshot', () => {
  test.each([
    ['thick', { origin: 'lv-one-7-0' }],
    ['thick and in use by a server that ends', { origin: 'lv-one-7-0', open: true }],
    ['thin', { origin: 'lv-one-7-0', pool: 'lv-one-7-pool' }],
    ['thin, of a disk that is gone', { pool: 'lv-one-7-pool' }],
    ['one that an lvcreate left half-way', {}],
  ])('the undo of an LVM snapshot removes a snapshot that is %s', async (_, facts) => {
    const used = { name: 'lv-one-7-1', mb: 4, active: true, pool: pool.name };
    const lvm = lvmWith([origin, pool, used, { name: own.name, mb: 4, ...facts }]);
    await undoVolumeSnapshot(lvm.runner, lvm.runner, own);
    expect(lvm.changes).toEqual(['lvremove --quiet --force vg/onevmdump-1234-0']);
  });

  test('the undo of an LVM snapshot leaves it alone where its origin is not active, as the VM may run on another host by now', async () => {
    const idle = { ...origin, active: false };
    const lvm = lvmWith([idle, { name: own.name, mb: 4, origin: origin.name }]);
    await expect(undoVolumeSnapshot(lvm.runner, lvm.runner, own)).rejects.toThrow(
      /vg\/onevmdump-1234-0 of the volume lv-one-7-0 is left alone: vg\/lv-one-7-0 is not active on this machine/,
    );
    expect(lvm.changes).toEqual([]);
  });

  test('the undo of an LVM snapshot leaves a thin one alone where its pool is not in use, as LVM would activate the pool on a second host', async () => {
    const idle = { name: pool.name, mb: 8, isPool: true };
    const thin = { name: own.name, mb: 4, origin: origin.name, pool: pool.name };
    const lvm = lvmWith([{ ...origin, active: false, pool: pool.name }, idle, thin]);
    await expect(undoVolumeSnapshot(lvm.runner, lvm.runner, own)).rejects.toThrow(
      /is left alone: its thin pool vg\/lv-one-7-pool is not active on this machine/,
    );
    expect(lvm.changes).toEqual([]);
  });

  describe.each([
    ['TM fs_lvm_ssh', 'lv-one-7-0', 'lv-one-7-pool'],
    ['TM lvm', 'vm-one-7-0', 'vm-one-7-pool'],
    ['TM lvm that is a persistent image', 'img-one-5', 'img-one-5-pool'],
  ])('of a thin volume of %s', (what, volume, poolName) => {
    const thinPool = { ...pool, name: poolName };
    const snapshot = { name: own.name, mb: 4, origin: volume, pool: poolName };
    // The locks of a group of TM lvm have other names.
    const lvmOf = (volumes: readonly FakeVolume[]): FakeLvm =>
      fakeLvm(localRunner(quiet), {
        ...(volume.startsWith('lv-') ? { group: 'vg' } : { group: 'vg-one-0', lvmGroups: ['vg'] }),
        volumes: volumes.map((one) => ({ ...one, group: 'vg' })),
      });

    test.each([
      ['the volume itself', { name: volume, mb: 4, active: true, pool: poolName }],
      ['another volume', { name: `${volume}9`, mb: 4, active: true, pool: poolName }],
    ])(
      `the undo of an LVM snapshot of a thin volume of ${what} removes it where its pool is in use by %s`,
      async (_, user) => {
        const idle = { name: volume, mb: 4, pool: poolName };
        const lvm = lvmOf([idle, thinPool, user, snapshot]);
        await undoVolumeSnapshot(lvm.runner, lvm.runner, { ...own, origin: volume });
        expect(lvm.changes).toEqual(['lvremove --quiet --force vg/onevmdump-1234-0']);
      },
    );

    test(`the undo of an LVM snapshot of a thin volume of ${what} leaves it where nobody uses its pool`, async () => {
      const lvm = lvmOf([{ name: volume, mb: 4, pool: poolName }, thinPool, snapshot]);
      await expect(
        undoVolumeSnapshot(lvm.runner, lvm.runner, { ...own, origin: volume }),
      ).rejects.toThrow(`its thin pool vg/${poolName} is not active on this machine`);
      expect(lvm.changes).toEqual([]);
    });
  });

  test('the undo of an LVM snapshot has nothing to do when it is gone', async () => {
    const lvm = lvmWith({ name: other.name, mb: 4 });
    await undoVolumeSnapshot(lvm.runner, lvm.runner, own);
    expect(lvm.changes).toEqual([]);
  });

  test('the undo of an LVM snapshot finds one that is made a moment later', async () => {
    const lvm = lvmWith(origin);
    setTimeout(() => lvm.volumes.set(own.name, { ...own, mb: 4, origin: other.name }), 300);
    await undoVolumeSnapshot(lvm.runner, lvm.runner, own);
    expect([...lvm.volumes.keys()]).toEqual([other.name]);
  });

  test('the undo of an LVM snapshot waits for the lvcreate that still makes it', async () => {
    const lvm = lvmWith(origin);
    const name = `onevmdump-${process.pid}-0`;
    await whileRunning('lvcreate', name, () => {
      lvm.volumes.set(name, { name, mb: 4, origin: other.name });
    });
    await undoVolumeSnapshot(lvm.runner, lvm.runner, { ...own, name });
    expect([...lvm.volumes.keys()]).toEqual([other.name]);
  });

  test('the undo of an LVM snapshot touches no volume of another name, whatever it is', async () => {
    const lvm = lvmWith({ name: other.name, mb: 4, origin: 'lv-one-7-1' });
    const named = { ...other, origin: 'lv-one-7-1' };
    await expect(undoVolumeSnapshot(lvm.runner, lvm.runner, named)).rejects.toThrow(
      'not made by onevmdump',
    );
    expect(lvm.changes).toEqual([]);
  });

  test('the undo of an LVM snapshot touches no volume that is no snapshot and in use', async () => {
    const lvm = lvmWith({ name: own.name, mb: 4, open: true });
    await expect(undoVolumeSnapshot(lvm.runner, lvm.runner, own)).rejects.toThrow(
      'not made by onevmdump',
    );
    expect(lvm.changes).toEqual([]);
  });

  test('the undo of an LVM snapshot tries again while something has it open', async () => {
    let tries = 0;
    const lvm = lvmWith([origin, { name: own.name, mb: 4, origin: 'lv-one-7-0' }], (line) => {
      if (line.startsWith('lvremove') && ++tries < 3)
        throw new Error('contains a filesystem in use');
    });
    await undoVolumeSnapshot(lvm.runner, lvm.runner, own);
    expect([...lvm.volumes.keys()]).toEqual([origin.name]);
  });

  test('the undo of an LVM snapshot tells why it fails where LVM cannot be asked', async () => {
    const lvm = lvmWith({ name: own.name, mb: 4 });
    await expect(
      undoVolumeSnapshot(lvm.runner, lvm.runner, { ...own, group: 'gone' }),
    ).rejects.toThrow('Volume group "gone" not found');
  });
});

describe('the undo of an activation', () => {
  test('the undo of an LVM activation deactivates the volume', async () => {
    const lvm = lvmWith({ name: other.name, mb: 4, active: true });
    await undoActivation(lvm.runner, lvm.runner, other);
    expect(lvm.changes).toEqual(['lvchange --quiet -an vg/lv-one-7-0']);
  });

  test.each([
    ['is inactive', { active: false }],
    ['is in use', { active: true, open: true }],
  ])('the undo of an LVM activation leaves a volume alone that %s', async (_, facts) => {
    const lvm = lvmWith({ name: other.name, mb: 4, ...facts });
    await undoActivation(lvm.runner, lvm.runner, other);
    expect(lvm.changes).toEqual([]);
  });

  test('the undo of an LVM activation is content when the volume is opened in the very moment', async () => {
    const lvm = lvmWith({ name: other.name, mb: 4, active: true }, (line) => {
      if (!line.startsWith('lvchange')) return;
      lvm.volumes.set(other.name, { ...other, mb: 4, active: true, open: true });
      throw new Error('Logical volume vg/lv-one-7-0 in use.');
    });
    await undoActivation(lvm.runner, lvm.runner, other);
    expect(lvm.volumes.get(other.name)?.active).toBe(true);
  });

  test('the undo of an LVM activation waits for the lvchange that still activates it', async () => {
    const name = `lv-one-${process.pid}-0`;
    const lvm = lvmWith({ name, mb: 4 });
    await whileRunning('lvchange', `vg/${name}`, () => {
      lvm.volumes.set(name, { name, mb: 4, active: true });
    });
    await undoActivation(lvm.runner, lvm.runner, { group: 'vg', name });
    expect(lvm.changes).toEqual([`lvchange --quiet -an vg/${name}`]);
  });

  test('the undo of an LVM activation has nothing to do for a volume that is gone', async () => {
    const lvm = lvmWith({ name: own.name, mb: 4 });
    await undoActivation(lvm.runner, lvm.runner, other);
    expect(lvm.changes).toEqual([]);
  });
});
