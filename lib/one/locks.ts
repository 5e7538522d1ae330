// Locks of VMs. A lock of level USE, stored as LOCKED=1 (ALL is another word for it), refuses every
// action; MANAGE (2) and ADMIN (3) refuse fewer. Locking a locked VM replaces its lock.
// Source: OpenNebula's RequestManagerLock.cc and PoolObjectSQL.h, 6.4 to 7.4.
import { FailedError, OpenNebulaError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Journal } from '../run/journal.ts';
import type { Undo } from '../run/undo.ts';
import type { Vm, VmLock } from '../vm/vm.ts';
import type { OneClient } from './client.ts';
import { getVm } from './vms.ts';
import { isRefusal, noSuchObject } from './answers.ts';

/** ALL, as given to one.vm.lock. */
const levelAll = 4;
/** How the strongest lock is stored. */
const lockedAll = 1;
/**
 * Seconds: how far apart the clocks of oned and of this machine may be, together with the time one.vm.lock takes. Only for a run
 * that was killed between the lock and the note of which lock it is.
 */
const clockTolerance = 600;
/** oned's code for an action that the state, or a lock, does not allow. */
const codeAction = 2048;

/** Locks a VM, replacing the lock it has. @param level 1 USE, 2 MANAGE, 3 ADMIN, 4 ALL */
export async function lockVm(client: OneClient, vmId: number, level: number): Promise<void> {
  await client.call('one.vm.lock', vmId, level, false);
}

/** Unlocks a VM; an unlocked one stays so. */
export async function unlockVm(client: OneClient, vmId: number): Promise<void> {
  await client.call('one.vm.unlock', vmId);
}

/**
 * Makes sure nobody acts on the VM until the journal is undone: locks it unless it is fully locked
 * already, and records how its lock was before, and which lock is this run's.
 * @param vm as oned described it just now
 * @returns the VM as it is with the lock
 * @throws OpenNebulaError, also when somebody else has locked it since `vm` was read
 */
export async function holdLock(client: OneClient, vm: Vm, journal: Journal): Promise<Vm> {
  if (vm.lock?.level === lockedAll) return vm;
  const before = vm.lock ?? null;
  const since = Math.floor(Date.now() / 1000);
  const undo = {
    ...({ kind: 'restore-lock', endpoint: client.endpoint, vmId: vm.id } as const),
    ...{ before, since },
  };
  const entry = await journal.record(undo);
  try {
    // The last argument makes oned refuse a VM that is locked: its lock would be lost.
    await client.call('one.vm.lock', vm.id, levelAll, before === null);
  } catch (error) {
    // A refusal changed nothing: there is nothing to put back. Without an answer nobody knows.
    if (!isRefusal(error)) throw error;
    await entry.done();
    if (error.oneCode !== codeAction || before !== null) throw error;
    throw new OpenNebulaError(`VM ${vm.id} was locked by somebody else meanwhile`, {
      oneCode: error.oneCode,
      cause: error,
    });
  }
  // oned does not answer which lock that is.
  const now = await getVm(client, vm.id);
  if (now.lock) {
    await journal.record({ ...undo, own: now.lock });
    await entry.done();
  }
  return now;
}

/**
 * For an undo: puts the lock back as it was, if the VM still has the lock of the run that recorded it. One that somebody has
 * set or removed since is not touched.
 * @throws FailedError when the VM has a lock of which nobody knows whose it is; OpenNebulaError
 */
export async function restoreLock(
  client: OneClient,
  undo: Extract<Undo, { kind: 'restore-lock' }>,
  log: Log,
): Promise<void> {
  const { vmId, before, own, since } = undo;
  const lock = await currentLock(client, vmId);
  if (!lock) {
    if (before) log.info(`VM ${vmId} was unlocked by somebody else and stays so`);
    return;
  }
  // Never replaced, or put back already.
  if (before && isSame(lock, before)) return;
  if (own ? !isSame(lock, own) : lock.level !== lockedAll) {
    log.info(`VM ${vmId} was locked by somebody else meanwhile, and stays so`);
    return;
  }
  if (!own && Math.abs(lock.time - since) > clockTolerance) {
    throw new FailedError(
      `VM ${vmId} has a lock of which is not known whether it is the one of a killed export`,
    );
  }
  await (before ? lockVm(client, vmId, before.level) : unlockVm(client, vmId));
}

/** Of a VM that is gone: none. */
async function currentLock(client: OneClient, vmId: number): Promise<VmLock | undefined> {
  try {
    return (await getVm(client, vmId)).lock;
  } catch (error) {
    if (noSuchObject(error)) return undefined;
    throw error;
  }
}

function isSame(lock: VmLock, other: VmLock): boolean {
  return (
    lock.level === other.level &&
    lock.owner === other.owner &&
    lock.time === other.time &&
    lock.requestId === other.requestId
  );
}
