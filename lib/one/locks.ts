// Locks of VMs. A lock of level USE, stored as LOCKED=1 (ALL is another word for it), refuses every
// action; MANAGE (2) and ADMIN (3) refuse fewer. Locking a locked VM replaces its lock.
// Source: OpenNebula's RequestManagerLock.cc and PoolObjectSQL.h, 6.4 to 7.4.
import { OpenNebulaError } from '../report/errors.ts';
import type { Journal } from '../run/journal.ts';
import type { Vm } from '../vm/vm.ts';
import type { OneClient } from './client.ts';

/** ALL, as given to one.vm.lock. */
const levelAll = 4;
/** How the strongest lock is stored. */
const lockedAll = 1;
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
 * already, and records how its lock was before.
 * @param vm as oned described it just now
 * @throws OpenNebulaError, also when somebody else has locked it since `vm` was read
 */
export async function holdLock(client: OneClient, vm: Vm, journal: Journal): Promise<void> {
  if (vm.locked === lockedAll) return;
  const { endpoint } = client;
  const level = vm.locked ?? null;
  const entry = await journal.record({ kind: 'restore-lock', endpoint, vmId: vm.id, level });
  try {
    // The last argument makes oned refuse a VM that is locked: its lock would be lost.
    await client.call('one.vm.lock', vm.id, levelAll, level === null);
  } catch (error) {
    // A refusal changed nothing: there is nothing to put back. Without an answer nobody knows.
    if (!(error instanceof OpenNebulaError) || error.code === undefined) throw error;
    await entry.done();
    if (error.code !== codeAction || level !== null) throw error;
    throw new OpenNebulaError(`VM ${vm.id} was locked by somebody else meanwhile`, {
      code: error.code,
      cause: error,
    });
  }
}
