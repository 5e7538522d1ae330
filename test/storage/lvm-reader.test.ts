// A volume on a host, with a real qemu-nbd on a file in place of the device: what is shown is how a snapshot is looked after.
import { describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { openVolume } from '../../lib/storage/lvm/reader.ts';
import type { VolumeSource } from '../../lib/storage/lvm/source.ts';
import { quiet, wholeDisk } from '../support/nbd-servers.ts';
import { fakeLvm, type FakeLvm, type FakeVolume } from './fake-lvm.ts';
import { disk, inWorld, MiB, rawFile, vm, type World } from '../support/storage-world.ts';

const name = 'onevmdump-test-0';
const plan = { vm: vm([]), disk: disk(0), format: 'raw' } as const;
const source = (snapshot?: 'thick' | 'thin'): VolumeSource => ({
  ...{ group: 'vg', name, virtualSize: 4 * MiB },
  ...(snapshot ? { snapshot } : {}),
});

interface Scene {
  readonly lvm: FakeLvm;
  readonly read: (kind?: 'thick' | 'thin') => Promise<Buffer>;
  readonly turn: (facts: Partial<FakeVolume>, which?: string) => void;
  /** Done as soon as the server has been started. */
  onStart: () => void;
}

async function inScene(
  volumes: readonly FakeVolume[],
  body: (scene: Scene, world: World) => Promise<void>,
): Promise<void> {
  await inWorld(async (world) => {
    const file = join(world.outside, 'device');
    await rawFile(file, 4 * MiB, [[0, MiB]]);
    const real = localRunner(quiet);
    const redirected: Runner = {
      ...real,
      target: { host: 'kvm1' },
      async start(command) {
        const args = command.args.map((arg) =>
          arg.startsWith('json:') ? `json:${JSON.stringify(instead(arg, file))}` : arg,
        );
        const service = await real.start({ ...command, args });
        scene.onStart();
        return service;
      },
    };
    const lvm = fakeLvm(redirected, { group: 'vg', volumes });
    const run = { ...world.run, runner: lvm.runner, runnerAt: () => lvm.runner };
    const scene: Scene = {
      lvm,
      onStart: () => undefined,
      async read(kind) {
        const reader = await openVolume(plan, source(kind), run);
        try {
          return await wholeDisk(reader);
        } finally {
          await reader.close();
        }
      },
      turn(facts, which = name) {
        const one = lvm.volumes.get(which);
        if (one) lvm.volumes.set(which, { ...one, ...facts });
      },
    };
    await body(scene, world);
  });
}

/** The tree of a device, checked and led to a file. */
function instead(tree: string, filename: string): object {
  expect(JSON.parse(tree.slice('json:'.length))).toEqual({
    driver: 'raw',
    'read-only': true,
    file: { driver: 'host_device', filename: `/dev/vg/${name}`, cache: { direct: true } },
  });
  return { driver: 'raw', 'read-only': true, file: { driver: 'file', filename } };
}

const thick: FakeVolume = { name, mb: 8, origin: 'lv-one-7-0', active: true, data: 1 };
const thin: FakeVolume = { name, mb: 4, origin: 'lv-one-7-0', pool: 'pool', data: 1 };
const pool: FakeVolume = { name: 'pool', mb: 40, isPool: true, data: 60, metadata: 3 };

describe('a volume', () => {
  test('a volume on LVM that is no snapshot is read without a further look', () =>
    inScene([{ name, mb: 4, active: true }], async ({ read, lvm }, { outside, undone }) => {
      expect((await read()).equals(await readFile(join(outside, 'device')))).toBe(true);
      expect(lvm.lines).toEqual([]);
      expect(undone()).toEqual([]);
    }));

  test('a volume on LVM that is a good snapshot is looked at once it was read', () =>
    inScene([thick], async ({ read, lvm }) => {
      expect(await read('thick')).toHaveLength(4 * MiB);
      expect(lvm.lines).toHaveLength(1);
    }));

  test('a volume on LVM that is a thin snapshot is activated first', () =>
    inScene([thin, pool], async ({ read, lvm }) => {
      expect(await read('thin')).toHaveLength(4 * MiB);
      expect(lvm.changes).toEqual([`lvchange --quiet -ay -K vg/${name}`]);
    }));

  test('a volume on LVM that overflows fails although every byte could be read, and says what to raise', () =>
    inScene([thick], async (scene) => {
      scene.onStart = () => scene.turn({ invalid: true });
      await expect(scene.read('thick')).rejects.toThrow(
        'the snapshot of disk 0 of VM 7 is full: its guest overwrote more than the 8.0 MiB there were for it before the disk had been read; raise LVM_SNAPSHOT_PERCENT (now 20) and LVM_SNAPSHOT_MIN_MB (now 1024)',
      );
    }));

  test('a volume on LVM that overflowed before it was opened says so instead of an I/O error', () =>
    inScene([{ ...thick, invalid: true }], async (scene, { outside }) => {
      await rawFile(join(outside, 'device'), 0);
      await expect(scene.read('thick')).rejects.toThrow('the snapshot of disk 0 of VM 7 is full');
    }));

  test('a volume on LVM that somebody removes meanwhile fails', () =>
    inScene([thick], async (scene) => {
      scene.onStart = () => scene.lvm.volumes.delete(name);
      await expect(scene.read('thick')).rejects.toThrow('was removed by somebody while');
    }));

  test('a volume on LVM whose thin pool runs full fails, with figures', () =>
    inScene([thin, pool], async (scene) => {
      scene.onStart = () => scene.turn({ health: 'out_of_data', data: 100 }, 'pool');
      await expect(scene.read('thin')).rejects.toThrow(
        /the thin pool vg\/pool, .* is in trouble \(out_of_data\): 100 % of its 40.0 MiB and 3 %/,
      );
    }));

  test('a volume on LVM that cannot be opened though it is good keeps its own error', () =>
    inScene([thick], async (scene, { outside }) => {
      await rawFile(join(outside, 'device'), MiB);
      await expect(scene.read('thick')).rejects.not.toThrow('is full');
    }));
});
