// The lock of a VM for as long as an export reads its disks. A lock of level USE, stored as LOCKED=1 (ALL is another
// word for it), refuses every action; MANAGE (2) and ADMIN (3) refuse fewer. Locking a locked VM replaces its lock.
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
  const data = { endpoint: client.endpoint, vmId: vm.id, before, since };
  const entry = await journal.record(restoreLock.undo(data));
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
    await journal.record(restoreLock.undo({ ...data, own: now.lock }));
    await entry.done();
  }
  return now;
}
