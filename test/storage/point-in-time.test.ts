// What all storages share while a guest is held, seen with a storage that does as it is told.
import { describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FreezeWish } from '../../lib/guest/freeze.ts';
import { fixPointInTime } from '../../lib/storage/point-in-time.ts';
import type { PointInTime, Prepared, StorageModule } from '../../lib/storage/storage.ts';
import { fakeLibvirt, type FakeFacts, type FakeLibvirt } from '../support/fake-libvirt.ts';
import { disk, inWorld, vm } from '../support/storage-world.ts';

interface Scene {
  readonly libvirt: FakeLibvirt;
  readonly fix: (wish: FreezeWish, limitMs?: number) => Promise<PointInTime>;
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
    await body({ libvirt, fix: (wish, limitMs) => fixPointInTime(plans, run, wish, limitMs) });
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
      if (command.startsWith('domfsfreeze')) seen.push('frozen');
      if (!command.startsWith('qemu-agent-command')) return;
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
      if (!command.startsWith('qemu-agent-command') || ++asked === 1) return;
      throw new Error('Guest agent is not responding: QEMU guest agent is not connected');
    };
    return inScene(
      {},
      async ({ fix }) => {
        const wish = { mode: 'agent', required: false, agentWaitMs: 600_000 } as const;
        expect((await fix(wish)).consistency.level).toBe('crash');
        expect(asked).toBe(2);
      },
      { meddle: goes },
    );
  });
});
