// When an export may change a volume group at all: other machines may see it, and their changes must be locked out.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import { lvmStorage } from '../../lib/storage/lvm/lvm.ts';
import { undoActivation, undoVolumeSnapshot } from '../../lib/storage/lvm/undo.ts';
import { isFrontEnd } from '../../lib/tools/front-end.ts';
import type { Vm } from '../../lib/vm/vm.ts';
import { fakeLibvirt } from '../support/fake-libvirt.ts';
import { quiet } from '../support/nbd-servers.ts';
import { disk, inWorld, settingsWith, vm, type World } from '../support/storage-world.ts';
import { fakeLvm, type FakeLvm, type FakeLvmFacts } from './fake-lvm.ts';

const history = { seq: 0, stime: undefined, hostname: 'localhost', tmMad: 'fs_lvm_ssh' };
const off: Partial<Vm> = { history: { ...history, datastoreId: 0 } };
const running: Partial<Vm> = { ...off, state: 3, lcmState: 3, deployId: 'one-7' };
const volume = { name: 'lv-one-7-0', mb: 200 };

interface Outcome {
  readonly prepared: Promise<unknown>;
  readonly lvm: FakeLvm;
  readonly world: World;
  readonly frozen: boolean;
}

async function prepared(
  facts: Partial<Vm>,
  { shared = 'yes', ...more }: Partial<FakeLvmFacts> & { readonly shared?: string },
  judge: (outcome: Outcome) => Promise<void>,
): Promise<void> {
  await inWorld(async (world) => {
    const path = '/var/lib/one/datastores/0/7/disk.0';
    const libvirt = fakeLibvirt({
      name: 'one-7',
      disks: [{ target: 'vda', file: path, format: 'raw', type: 'block' }],
    });
    const lvm = fakeLvm(libvirt.runner, { group: 'vg-one-0', volumes: [volume], ...more });
    const run = {
      ...{ ...world.run, runner: lvm.runner, runnerAt: () => lvm.runner },
      settings: settingsWith({ LVM_SNAPSHOT_MIN_MB: '8', LVM_SHARED: shared }),
    };
    const one = vm([disk(0, { type: 'BLOCK', tmMad: 'fs_lvm_ssh', target: 'vda' })], facts);
    const plans = one.disks.map((each) => lvmStorage.plan(one, each, 'raw'));
    const result = lvmStorage.prepare(plans, run);
    await result.catch(() => undefined);
    await judge({ prepared: result, lvm, world, frozen: libvirt.frozen() });
  });
}

const oneLocation = process.env['ONE_LOCATION'];
beforeEach(() => {
  delete process.env['ONE_LOCATION'];
});
afterEach(() => {
  if (oneLocation !== undefined) process.env['ONE_LOCATION'] = oneLocation;
});

describe('an export of a VM on a volume group that other machines may see', () => {
  test('a snapshot in a volume group that others may see is refused on a machine that is not the front-end, before anything is changed, with the ways that are left', () =>
    prepared(running, { volumes: [{ ...volume, active: true }], frontEnd: false }, async (seen) => {
      await expect(seen.prepared).rejects.toThrow(
        /^cannot make snapshots of disk 0 of VM 7: other machines may see the volume group vg-one-0, .* this machine is not the front-end, as there is no \/etc\/one\/oned\.conf, .* Export the VM on the front-end with --remote-host auto \(or a host that sees the group\), or let oned back it up, or use --snapshot qemu, which does not change the group; or, if no other machine sees the group, set LVM_SHARED = no$/,
      );
      await expect(seen.prepared).rejects.toMatchObject({ code: 'failed', exitCode: 1 });
      expect(seen.lvm.changes).toEqual([]);
      expect(seen.world.undone()).toEqual([]);
      expect(seen.frozen).toBe(false);
    }));

  test('an inactive volume of a group that others may see is not activated on a machine that is not the front-end', () =>
    prepared(off, { frontEnd: false }, async ({ prepared: refused, lvm, world }) => {
      await expect(refused).rejects.toThrow(
        /^cannot activate the volumes of disk 0 of VM 7: .*\. Export the VM on the front-end with --remote-host auto \(or a host that sees the group\), or let oned back it up; or, if/,
      );
      expect(lvm.changes).toEqual([]);
      expect(world.undone()).toEqual([]);
    }));

  test('an active volume of a VM that is off is read on any machine, since nothing is changed in its group', () =>
    prepared(off, { volumes: [{ ...volume, active: true }], frontEnd: false }, async (seen) => {
      await expect(seen.prepared).resolves.toMatchObject({ pointInTime: 'given' });
      expect(seen.lvm.changes).toEqual([]);
    }));

  test.each<[string, Partial<FakeLvmFacts> & { shared?: string }]>([
    ['on the front-end', {}],
    ['on any machine with LVM_SHARED = no', { frontEnd: false, shared: 'no' }],
  ])('an inactive volume is activated %s', (_, facts) =>
    prepared(off, facts, async ({ prepared: done, lvm }) => {
      await done;
      expect(lvm.changes).toEqual(['lvchange --quiet -ay -K vg-one-0/lv-one-7-0']);
    }),
  );

  test('what an export has changed in a volume group is undone on any machine', async () => {
    const own = { name: 'onevmdump-1234-0', mb: 4, origin: volume.name };
    const facts = { group: 'vg-one-0', volumes: [{ ...volume, active: true }, own] };
    const lvm = fakeLvm(localRunner(quiet), { ...facts, frontEnd: false });
    const { runner } = lvm;
    await undoVolumeSnapshot(runner, runner, { ...own, group: 'vg-one-0' });
    await undoActivation(runner, runner, { group: 'vg-one-0', name: volume.name });
    expect(lvm.changes).toEqual([
      'lvremove --quiet --force vg-one-0/onevmdump-1234-0',
      'lvchange --quiet -an vg-one-0/lv-one-7-0',
    ]);
  });
});

describe('a front-end', () => {
  test('a self-contained front-end has the configuration of oned below ONE_LOCATION', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'onevmdump-front-end-'));
    try {
      process.env['ONE_LOCATION'] = folder;
      expect(await isFrontEnd(localRunner(quiet))).toBe(false);
      await mkdir(join(folder, 'etc'));
      await writeFile(join(folder, 'etc/oned.conf'), '');
      expect(await isFrontEnd(localRunner(quiet))).toBe(true);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
