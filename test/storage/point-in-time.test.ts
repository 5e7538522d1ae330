// What all storages share while a guest is frozen, seen with a storage that does as it is told.
import { describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FreezeRequest } from '../../lib/guest/freeze.ts';
import { fixPointInTime, type SnapshotRequest } from '../../lib/storage/point-in-time.ts';
import type { PointInTime, Prepared, StorageModule } from '../../lib/storage/storage.ts';
import { fakeLibvirt, type FakeFacts, type FakeLibvirt } from '../support/fake-libvirt.ts';
import { disk, inWorld, rawFile, vm } from '../support/storage-world.ts';
import { quiet } from '../support/nbd-servers.ts';

interface Scene {
  readonly libvirt: FakeLibvirt;
  readonly fix: (freeze: FreezeRequest, limitMs?: number) => Promise<PointInTime>;
}

/** VM 7 runs with one disk, on a storage that is `prepared` like this. */
async function inScene(
  prepared: Partial<Prepared>,
  body: (scene: Scene) => Promise<void>,
  facts: Partial<FakeFacts> = {},
): Promise<void> {
  await inWorld(async (world) => {
    const libvirt = fakeLibvirt({ name: 'one-7', ...facts });
    const module: StorageModule = {
      tmMads: {},
      settings: {},
      undoKinds: [],
      hasSnapshots: true,
      running: () => Promise.reject(new Error('nothing is asked')),
      plan: (of, one, format) => ({ vm: of, disk: one, format }),
      prepare: () =>
        Promise.resolve({
          pointInTime: 'together',
          snapshot: () => Promise.resolve([]),
          ...prepared,
        }),
      open: () => Promise.reject(new Error('nothing is read')),
    };
    const running = vm([disk(0)], { state: 3, lcmState: 3, deployId: 'one-7' });
    const plans = [{ module, plan: module.plan(running, disk(0), 'raw') }];
    const run = { ...world.run, runner: libvirt.runner };
    await body({
      libvirt,
      fix: (freeze, limitMs) => fixPointInTime(plans, run, { freeze, way: 'storage' }, limitMs),
    });
  });
}

describe('a storage that takes longer than the guest waits', () => {
  test('a storage that takes longer than the guest waits has ended, with its lock still held, before the failure is reported of a guest that cannot be resumed', () => {
    const seen: string[] = [];
    const slow = {
      claim: () => Promise.resolve(() => Promise.resolve(void seen.push('lock released'))),
      snapshot: async () => {
        await sleep(500);
        seen.push('snapshots made');
        return [];
      },
    };
    const refuseResume = (command: string): void => {
      if (command.startsWith('resume')) throw new Error('no reply from the hypervisor');
    };
    return inScene(
      slow,
      async ({ fix }) => {
        await expect(fix({ mode: 'suspend', required: true }, 50)).rejects.toThrow(
          'cannot resume one-7: virsh: error: no reply from the hypervisor',
        );
        expect(seen).toEqual(['snapshots made', 'lock released']);
      },
      { meddle: refuseResume },
    );
  });
});

describe('what a storage must have for itself alone', () => {
  // OpenNebula's drivers give up on its locks after 120 s, and a guest may take longer to boot.
  test("a storage's lock is not taken before the agent of a guest that boots is there", () => {
    const seen: string[] = [];
    let asked = 0;
    const claimed = {
      claim: () => {
        seen.push('claimed');
        return Promise.resolve(() => Promise.resolve());
      },
    };
    const boots = (command: string): void => {
      if (command.startsWith('guest-fsfreeze-freeze')) seen.push('frozen');
      if (!command.startsWith('guest-fsfreeze-status')) return;
      const away = ++asked < 3;
      seen.push(away ? 'no agent' : 'agent');
      if (away) throw new Error('Guest agent is not responding: QEMU guest agent is not connected');
    };
    return inScene(
      claimed,
      async ({ fix }) => {
        await fix({ mode: 'agent', required: true, agentWaitMs: 600_000 });
        expect(seen).toEqual(['no agent', 'no agent', 'agent', 'claimed', 'agent', 'frozen']);
      },
      { meddle: boots },
    );
  });

  test("a storage's lock is not kept while an agent is awaited that has gone away since", () => {
    let asked = 0;
    const goes = (command: string): void => {
      if (!command.startsWith('guest-fsfreeze-status') || ++asked === 1) return;
      throw new Error('Guest agent is not responding: QEMU guest agent is not connected');
    };
    return inScene(
      {},
      async ({ fix }) => {
        const freeze = { mode: 'agent', required: false, agentWaitMs: 600_000 } as const;
        expect((await fix(freeze)).consistency.level).toBe('crash');
        expect(asked).toBe(2);
      },
      { meddle: goes },
    );
  });
});

describe('what fixes the point in time of a running VM', () => {
  const MiB = 1024 * 1024;
  /** With snapshots, without, or with snapshots and holes that QEMU may not know. */
  type Storage = 'with' | 'without' | 'clones';

  /** VM 7 runs with a disk for each storage, which has snapshots or not. */
  async function inMixed(
    storages: readonly Storage[],
    body: (scene: {
      readonly libvirt: FakeLibvirt;
      readonly fix: (
        way: SnapshotRequest['way'],
        mode?: FreezeRequest['mode'],
      ) => Promise<PointInTime>;
      /** What the storages were asked, in order. */
      readonly asked: readonly string[];
      readonly warnings: readonly string[];
      readonly undone: () => readonly { readonly kind: string }[];
    }) => Promise<void>,
    facts: Partial<FakeFacts> = {},
  ): Promise<void> {
    await inWorld(async (world) => {
      const asked: string[] = [];
      const warnings: string[] = [];
      const files = storages.map((_, id) => join(world.outside, `volume-${id}`));
      for (const file of files) await rawFile(file, MiB);
      const target = (id: number): string => `vd${'abc'[id] ?? ''}`;
      const known = files.map((file, id) => ({ target: target(id), file, format: 'raw' }));
      const libvirt = fakeLibvirt({ name: 'one-7', disks: known, ...facts });
      const moduleOf = (storage: Storage): StorageModule => ({
        tmMads: {},
        settings: {},
        undoKinds: [],
        hasSnapshots: storage !== 'without',
        plan: (of, one, format) => ({ vm: of, disk: one, format }),
        running: (plans) => {
          asked.push(`look ${storage}`);
          return Promise.resolve(
            plans.map((plan) => ({
              ...{ plan, virtualSize: MiB, layout: { format: 'raw' } },
              holesUnknown: storage === 'clones',
              place: { path: files[plan.disk.id] ?? '' },
            })),
          );
        },
        prepare: (plans) => {
          const ids = plans.map(({ disk: { id } }) => id).join(' ');
          asked.push(`snapshots of ${ids}`);
          const snapshots = plans.map((plan) => ({
            ...{ plan, layout: { format: 'raw' as const }, virtualSize: MiB, source: {} },
          }));
          const snapshot = () => Promise.resolve(snapshots);
          return Promise.resolve({
            pointInTime: plans.length > 1 ? ('apart' as const) : ('together' as const),
            snapshot,
          });
        },
        open: () => Promise.reject(new Error('nothing is read')),
      });
      const modules = {
        with: moduleOf('with'),
        without: moduleOf('without'),
        clones: moduleOf('clones'),
      };
      const disks = storages.map((_, id) => disk(id, { target: target(id) }));
      const running = vm(disks, { state: 3, lcmState: 3, deployId: 'one-7' });
      const plans = storages.map((storage, id) => ({
        module: modules[storage],
        plan: modules[storage].plan(running, disks[id]!, 'raw'),
      }));
      const log = { ...quiet, warn: (text: string) => void warnings.push(text) };
      const run = { ...world.run, log, runner: libvirt.runner };
      await body({
        libvirt,
        fix: (way, mode = 'none') =>
          fixPointInTime(plans, run, { freeze: { mode, required: false }, way }),
        asked,
        warnings,
        undone: world.undone,
      });
    });
  }

  const byJob = ({ snapshots }: PointInTime): boolean[] => snapshots.map((one) => !!one.byJob);

  test.each(['auto', 'qemu'] as const)(
    'one backup job fixes all disks of a running VM on different storages with --snapshot %s',
    (way) =>
      inMixed(['with', 'without', 'with'], async ({ fix, libvirt, asked, warnings }) => {
        expect(byJob(await fix(way))).toEqual([true, true, true]);
        expect(asked).toEqual(['look with', 'look without']);
        expect(libvirt.calls.filter((call) => call === 'backup-begin')).toHaveLength(1);
        expect(libvirt.calls).not.toContain('suspend');
        expect(warnings).toEqual([]);
      }),
  );

  test('with --snapshot storage, the storages make snapshots, and a backup job has the disks on a storage without them', () =>
    inMixed(['with', 'without', 'with'], async ({ fix, asked, warnings }) => {
      const { snapshots } = await fix('storage');
      const ways = snapshots.map(({ plan, byJob: job }) => [plan.disk.id, !!job]);
      expect(ways.sort()).toEqual([[0, false], [1, true], [2, false]]); // prettier-ignore
      expect(asked).toEqual(['look without', 'snapshots of 0 2']);
      expect(warnings).toEqual([expect.stringContaining('each of a point in time of its own')]);
    }));

  test('with --snapshot storage, libvirt is asked for no backup job where all storages have snapshots', () =>
    inMixed(['with'], async ({ fix, libvirt, asked }) => {
      await fix('storage');
      expect(asked).toEqual(['snapshots of 0']);
      expect(libvirt.calls).not.toContain('domcapabilities');
    }));

  const cannot: readonly (readonly [string, Partial<FakeFacts>, string])[] = [
    ['says that it has no backup jobs, as 7.0 does', { backupSupported: false }, 'no backup jobs'],
    ['does not know of backup jobs, as 5.10', { backupSupported: undefined }, 'no backup jobs'],
    ['has another job', { job: '/else.sock' }, 'libvirt has another job'],
    ['confines QEMU by AppArmor', { apparmor: true }, 'AppArmor does not let QEMU make a socket'],
  ];

  test.each(cannot)(
    'the storages make snapshots when libvirt %s, which is found out while the guest runs, and a warning says why',
    (_, facts, why) =>
      inMixed(
        ['with', 'with'],
        async ({ fix, libvirt, asked, warnings, undone }) => {
          expect(byJob(await fix('auto'))).toEqual([false, false]);
          expect(asked).toEqual(['look with', 'snapshots of 0 1']);
          expect(warnings[0]).toContain(why);
          expect(libvirt.calls).not.toContain('backup-begin');
          expect(undone()).toEqual([]);
        },
        facts,
      ),
  );

  test.each(cannot)(
    'nothing is frozen or changed when libvirt %s and a backup job is requested or needed',
    async (_, facts, why) => {
      for (const [storages, way] of [
        [['with', 'with'], 'qemu'],
        [['with', 'without'], 'auto'],
        [['without'], 'storage'],
      ] as const) {
        await inMixed(
          storages,
          async ({ fix, libvirt, asked, undone }) => {
            await expect(fix(way)).rejects.toThrow(why);
            expect(asked.filter((one) => one.startsWith('snapshots'))).toEqual([]);
            expect(libvirt.calls).not.toContain('guest-fsfreeze-freeze');
            expect(undone()).toEqual([]);
          },
          facts,
        );
      }
    },
  );

  test('a disk that libvirt does not have is an error with every way, since no way leads to the right disk', () =>
    inMixed(
      ['with'],
      async ({ fix, asked }) => {
        await expect(fix('auto')).rejects.toThrow('is unknown to libvirt');
        expect(asked).toEqual(['look with']);
      },
      { disks: [] },
    ));

  const noAgent = {
    meddle: (command: string) => {
      if (command.startsWith('guest-fsfreeze-status')) throw new Error('agent is not connected');
    },
  };

  test.each([
    ['one of them', ['clones'], 'none', {}],
    ['several, of a guest whose agent answers', ['clones', 'clones'], 'agent', {}],
    ['several, of a guest that is paused', ['clones', 'clones'], 'suspend', {}],
  ] as const)(
    'the storage makes snapshots of disks whose holes QEMU may not know, as they are of one point in time as well: %s',
    (_, storages, mode, facts) =>
      inMixed(
        storages,
        async ({ fix, warnings }) => {
          expect(byJob(await fix('auto', mode))).toEqual(storages.map(() => false));
          expect(warnings).toEqual([]);
        },
        facts,
      ),
  );

  test.each([
    ['whose agent does not answer', ['clones', 'clones'], 'agent', noAgent],
    ['that is not to be frozen', ['clones', 'clones'], 'none', {}],
    ['with disks on another storage that makes snapshots', ['clones', 'with'], 'agent', {}],
  ] as const)(
    'one backup job has the disks whose holes QEMU may not know of a guest %s',
    (_, storages, mode, facts) =>
      inMixed(
        storages,
        async ({ fix }) => {
          expect(byJob(await fix('auto', mode))).toEqual([true, true]);
        },
        facts,
      ),
  );

  test('one backup job has the disks whose holes QEMU may not know when that is requested', () =>
    inMixed(['clones'], async ({ fix }) => {
      expect(byJob(await fix('qemu', 'agent'))).toEqual([true]);
    }));
});
