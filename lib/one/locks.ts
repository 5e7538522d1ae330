// Locks a VM while an export reads its disks. A lock of level USE, stored as LOCKED=1 (ALL is another word for it),
// refuses every action; MANAGE (2) and ADMIN (3) refuse fewer. Locking a locked VM replaces its lock.
// Source: OpenNebula's RequestManagerLock.cc and PoolObjectSQL.h, 6.4 to 7.4.
import { OpenNebulaError } from '../report/errors.ts';
import type { Journal } from '../run/journal.ts';
import type { Vm } from '../vm/vm.ts';
import type { OneClient } from './client.ts';
import { getVm } from './vms.ts';
import { isRefusal } from './answers.ts';
import { lockedAll, restoreLock } from './lock-undo.ts';

/** ALL, as given to one.vm.lock. */
const levelAll = 4;
/** oned's code for an action that the state, or a lock, does not allow. */
const codeAction = 2048;

/**
 * Makes sure that nobody acts on the VM until the journal is undone: locks it unless it is already fully locked, and
 * records both the lock that it had before and the lock of this run.
 * @param vm as oned has just described it
 * @returns the VM with the lock
 * @throws OpenNebulaError, also when somebody else has locked the VM since `vm` was read
 */
export async function holdLock(client: OneClient, vm: Vm, journal: Journal): Promise<Vm> {
  if (vm.lock?.level === lockedAll) return vm;
  const before = vm.lock ?? null;
  const since = Math.floor(Date.now() / 1000);
  const data = { endpoint: client.endpoint, vmId: vm.id, before, since };
  const entry = await journal.record(restoreLock.undo(data));
  try {
    // The last argument makes oned refuse a VM that is already locked, whose lock would be lost.
    await client.call('one.vm.lock', vm.id, levelAll, before === null);
  } catch (error) {
    // A refusal changed nothing, so nothing has to be put back. Without an answer that is unknown.
    if (!isRefusal(error)) throw error;
    await entry.done();
    if (error.oneCode !== codeAction || before !== null) throw error;
    throw new OpenNebulaError(`VM ${vm.id} was locked by somebody else meanwhile`, {
      oneCode: error.oneCode,
      cause: error,
    });
  }
  // oned's answer does not say which lock it made.
  const now = await getVm(client, vm.id);
  if (now.lock) {
    await journal.record(restoreLock.undo({ ...data, own: now.lock }));
    await entry.done();
  }
  return now;
}
