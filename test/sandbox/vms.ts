// one.vm.* and one.vmpool.info. Source: RequestManagerLock.cc, RequestManagerVirtualMachine.cc of 6.10.5.
import { refused } from './failure.ts';
import { authorize, isAdmin } from './users.ts';
import type { Operation } from './users.ts';
import { getVm, vmXml } from './vm.ts';
import type { Vm } from './vm.ts';
import { now } from './world.ts';
import type { Call, MethodTable } from './world.ts';

function find(call: Call, operation: Operation, heedLock = true, index = 1): Vm {
  const vm = getVm(call.world, call.params.int(index));
  authorize(call.user, 'vm', vm, operation, heedLock);
  return vm;
}

/** Level 4, ALL, is kept as 1, USE: a lock on use stops everything above it, too. */
const storedLevels = new Map([
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 1],
]);

function lock(call: Call): number {
  const { params, user, requestId } = call;
  const level = storedLevels.get(params.int(2));
  const test = params.size > 3 && params.boolean(3);
  const vm = find(call, 'MANAGE', false);
  if (level === undefined) throw refused('Wrong lock level specified');
  if (test && vm.lock) throw refused(String(vm.lock.time));
  if (vm.lock && vm.lock.owner !== user.id && !isAdmin(user)) {
    throw refused('Error trying to lock the resource.');
  }
  vm.lock = { level, owner: user.id, time: now(), requestId };
  return vm.id;
}

function unlock(call: Call): number {
  const vm = find(call, 'MANAGE', false);
  const { user } = call;
  if (!isAdmin(user) && vm.lock?.owner !== user.id) {
    throw refused('Cannot unlock: Lock is owned by another user');
  }
  vm.lock = undefined;
  return vm.id;
}

export const vmMethods: MethodTable = {
  'one.vm.info': (call) => vmXml(find(call, 'USE', false)),
  'one.vm.lock': lock,
  'one.vm.unlock': unlock,
};
