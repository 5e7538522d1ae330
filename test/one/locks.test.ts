import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { lockVm, putLockBack, unlockVm, type LockBefore } from '../../lib/one/lock-undo.ts';
import { holdLock } from '../../lib/one/locks.ts';
import { getVm } from '../../lib/one/vms.ts';
import { createLog } from '../../lib/report/log.ts';
import type { Journal } from '../../lib/run/journal.ts';
import type { Undo } from '../../lib/run/undo.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { addRecordedVm, openWorld, type World } from './with-sandbox.ts';
import { recorded } from './replay.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';

let world: World;
let vmId: number;
beforeEach(async () => {
  world = await openWorld();
  vmId = await addRecordedVm(world.sandbox, 'vm-poweroff-ssh-kvm.xml');
});
afterEach(() => world.close());

/** A journal that keeps what was recorded and not yet done. */
function memoryJournal(): { journal: Journal; pending: Undo[]; order: string[] } {
  const pending: Undo[] = [];
  const order: string[] = [];
  const journal: Journal = {
    runId: 'test',
    record: (undo) => {
      order.push('record');
      pending.push(undo);
      return Promise.resolve({
        done: () => {
          pending.splice(pending.indexOf(undo), 1);
          return Promise.resolve();
        },
      });
    },
    allDone: async (entries) => {
      for (const entry of entries) await entry.done();
    },
    undoAll: () => Promise.resolve(),
    hold: () => Promise.resolve(),
  };
  return { journal, pending, order };
}

const locked = async (): Promise<number | undefined> => (await getVm(world.one, vmId)).lock?.level;
const lockCalls = (): number =>
  world.sandbox.calls.filter(({ method }) => method === 'one.vm.lock').length;

test('the XML of a VM comes as oned sent it, byte for byte', async () => {
  const vm = await getVm(world.one, vmId);
  expect(vm.xmlBytes.toString()).toBe(world.sandbox.vmXml(vmId));
  expect(vm.name).toBe('vmks');
});

test('a VM that does not exist is oned’s error 1024', async () => {
  await expect(getVm(world.one, 999)).rejects.toMatchObject({
    oneCode: 1024,
    message: 'OpenNebula refused one.vm.info: Error getting virtual machine [999].',
  });
});

test.each([
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 1],
])('a lock of level %d is stored as %d, and an unlock ends it', async (level, stored) => {
  await lockVm(world.one, vmId, level);
  expect(await locked()).toBe(stored);
  await unlockVm(world.one, vmId);
  await unlockVm(world.one, vmId);
  expect(await locked()).toBeUndefined();
});

test.each([
  ['show-locked-one.vm.info', 1],
  ['show-manage-one.vm.info', 2],
])('a recorded lock (%s) is read as the number oned stores', (name, expected) => {
  const xml = parseXml(Buffer.from(recorded(name).body), 'it');
  const value = xml.children[0]?.children[0]?.children[0]?.children[0]?.children[0]?.children[1];
  expect(parseVm(Buffer.from(value?.children[0]?.text ?? '')).lock?.level).toBe(expected);
});

describe('holdLock', () => {
  test('locking a VM locks an unlocked VM, after it has recorded to unlock it', async () => {
    const { journal, pending } = memoryJournal();
    await holdLock(world.one, await getVm(world.one, vmId), journal);
    expect(await locked()).toBe(1);
    const { lock } = await getVm(world.one, vmId);
    expect(pending).toEqual([
      {
        kind: 'restore-lock',
        endpoint: world.sandbox.endpoint,
        vmId,
        before: null,
        since: expect.any(Number) as unknown,
        own: lock,
      },
    ]);
    expect(lock?.time).toBeGreaterThan(1_000_000_000);
  });

  test('locking a VM leaves a VM alone that is fully locked already', async () => {
    await lockVm(world.one, vmId, 4);
    const { journal, pending } = memoryJournal();
    await holdLock(world.one, await getVm(world.one, vmId), journal);
    expect(pending).toEqual([]);
    expect(lockCalls()).toBe(1);
  });

  test.each([2, 3])(
    'locking a VM replaces a weaker lock %d, which is recorded to come back',
    async (level) => {
      await lockVm(world.one, vmId, level);
      const { journal, pending } = memoryJournal();
      await holdLock(world.one, await getVm(world.one, vmId), journal);
      expect(await locked()).toBe(1);
      expect(pending).toMatchObject([{ kind: 'restore-lock', before: { level } }]);
      await lockVm(world.one, vmId, level);
      expect(await locked()).toBe(level);
    },
  );

  test('locking a VM does not take over a lock that somebody set after the VM was read', async () => {
    const vm = await getVm(world.one, vmId);
    await lockVm(world.one, vmId, 3);
    const { journal, pending } = memoryJournal();
    await expect(holdLock(world.one, vm, journal)).rejects.toMatchObject({
      oneCode: 2048,
      message: `VM ${vmId} was locked by somebody else meanwhile`,
    });
    expect(await locked()).toBe(3);
    expect(pending).toEqual([]);
  });

  test('locking a VM has nothing to undo when oned refused', async () => {
    const vm = await getVm(world.one, vmId);
    const bob = await world.as(await world.sandbox.addUser('bob'));
    const { journal, pending, order } = memoryJournal();
    await expect(holdLock(bob, vm, journal)).rejects.toMatchObject({ oneCode: 512 });
    expect([order, pending]).toEqual([['record'], []]);
  });

  test('locking a VM keeps the undo when nobody knows whether oned did it', async () => {
    const vm = await getVm(world.one, vmId);
    world.sandbox.spoilNext('one.vm.lock', 'reset');
    const { journal, pending } = memoryJournal();
    await expect(holdLock(world.one, vm, journal)).rejects.toMatchObject({ oneCode: undefined });
    expect(pending).toHaveLength(1);
    expect(await locked()).toBe(1);
  });
});

describe('the undo of a lock', () => {
  const log = createLog({ script: 'test', debug: false, write: () => undefined });

  /** Locks the VM as an export does. @returns what its journal holds then */
  async function held(): Promise<LockBefore> {
    const { journal, pending } = memoryJournal();
    await holdLock(world.one, await getVm(world.one, vmId), journal);
    return pending[0] as unknown as LockBefore;
  }
  const undo = (one: LockBefore) => putLockBack(world.one, one, log);
  const lockNow = async () => (await getVm(world.one, vmId)).lock;

  test('the undo of a VM lock unlocks the VM', async () => {
    await undo(await held());
    expect(await lockNow()).toBeUndefined();
  });

  test('the undo of a VM lock puts a weaker lock back', async () => {
    await lockVm(world.one, vmId, 3);
    await undo(await held());
    expect((await lockNow())?.level).toBe(3);
  });

  test('the undo of a VM lock leaves a lock alone that somebody has set since, of any level', async () => {
    const stale = await held();
    for (const level of [4, 2]) {
      await lockVm(world.one, vmId, level);
      const theirs = await lockNow();
      await undo(stale);
      expect(await lockNow()).toEqual(theirs);
    }
  });

  test('the undo of a VM lock does not lock a VM again that somebody has unlocked since', async () => {
    await lockVm(world.one, vmId, 3);
    const stale = await held();
    await unlockVm(world.one, vmId);
    await undo(stale);
    expect(await lockNow()).toBeUndefined();
  });

  test('the undo of a VM lock of a run that was killed before it knew its lock unlocks one of that time only', async () => {
    const { own, ...early } = await held();
    const later = (own?.time ?? 0) - 3600;
    await expect(undo({ ...early, since: later })).rejects.toThrow(
      'of which is not known whether it is the one of a killed export',
    );
    expect(await lockNow()).toEqual(own);
    await undo(early);
    expect(await lockNow()).toBeUndefined();
  });

  test('the undo of a VM lock of a run that was killed before it locked leaves the lock that was there before', async () => {
    await lockVm(world.one, vmId, 2);
    const before = await lockNow();
    await undo({
      ...{ endpoint: world.sandbox.endpoint, vmId },
      ...{ before: before ?? null, since: before?.time ?? 0 },
    });
    expect(await lockNow()).toEqual(before);
  });

  test('the undo of a VM lock of a VM that is gone has nothing to do', async () => {
    await undo({ ...(await held()), vmId: 999 });
  });
});
