// Whether a VM is still what it was when its export began, as oned has it. An export without the VM's lock can be
// overtaken by anything that happens to the VM.
import type { OneClient } from './client.ts';
import { getVm } from './vms.ts';
import { FailedError } from '../report/errors.ts';
import { stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';

/**
 * The VM as oned sees it now.
 * @throws FailedError when it has another state, history or other disks than in the XML at hand.
 */
export async function requireUnchanged(vm: Vm, one: OneClient, when: string): Promise<Vm> {
  return requireSame(vm, await getVm(one, vm.id), when);
}

/** The same for what oned has said already. */
export function requireSame(vm: Vm, now: Vm, when: string): Vm {
  if (now.state !== vm.state || now.lcmState !== vm.lcmState) {
    const from = stateName(vm.state, vm.lcmState);
    const to = stateName(now.state, now.lcmState);
    throw new FailedError(
      `VM ${vm.id} went from ${from} to ${to} ${when}; nothing was exported, try again`,
    );
  }
  compareHistory(vm, now, when);
  const disksOf = ({ disks }: Vm) =>
    disks.map(({ id, source }) => `${id} ${source ?? ''}`).join('\n');
  if (disksOf(now) !== disksOf(vm)) {
    throw new FailedError(
      `the disks of VM ${vm.id} changed ${when}; nothing was exported, try again`,
    );
  }
  return now;
}

/**
 * A VM that was started and stopped, or migrated, has another last history record, whatever its state is. A snapshot
 * is then of a volume that another host has written to.
 * @throws FailedError
 */
export async function requireSameHistory(vm: Vm, one: OneClient, when: string): Promise<void> {
  compareHistory(vm, await getVm(one, vm.id), when);
}

function compareHistory(vm: Vm, now: Vm, when: string): void {
  const [was, is] = [vm.history, now.history];
  const same = (['seq', 'stime', 'hostname'] as const).every(
    // XML that was written by hand may have a record without STIME.
    (key) => was?.[key] === undefined || was[key] === is?.[key],
  );
  if (same) return;
  const inWords = (record: typeof was) => (record ? `${record.seq} on ${record.hostname}` : 'none');
  throw new FailedError(
    `VM ${vm.id} was started or migrated ${when} (its last history record was ${inWords(was)} and is ${inWords(is)}); nothing was exported, try again`,
  );
}
