// Checks that oned still describes a VM as it did when its export began. Without the VM lock, anything may happen to the
// VM during an export.
import type { OneClient } from './client.ts';
import { getVm } from './vms.ts';
import { FailedError } from '../report/errors.ts';
import { stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';

/**
 * Returns the VM as oned describes it now.
 * @throws FailedError when its state, history or disks differ from those of `vm`.
 */
export async function requireUnchanged(vm: Vm, one: OneClient, when: string): Promise<Vm> {
  return requireSame(vm, await getVm(one, vm.id), when);
}

/** The same, for a VM that was already read from oned. */
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
 * A VM that was started and stopped, or migrated, has another last history record, whatever its state is. Another host
 * may then have written to a volume before its snapshot was made.
 * @param wasPaused we have paused the guest meanwhile. If OpenNebula took it for suspended then, it has a new record since
 *   its monitoring has found that it runs (trigger_monitor_suspend and trigger_monitor_poweron in src/lcm), and nothing
 *   has happened to it.
 * @throws FailedError
 */
export async function requireSameHistory(
  vm: Vm,
  one: OneClient,
  when: string,
  wasPaused = false,
): Promise<void> {
  const now = await getVm(one, vm.id);
  const [was, is] = [vm.history, now.history];
  const onlyPaused =
    wasPaused && is?.foundAgain === true && is.seq - 1 === was?.seq && is.hostname === was.hostname;
  if (!onlyPaused) compareHistory(vm, now, when);
}

function compareHistory(vm: Vm, now: Vm, when: string): void {
  const [was, is] = [vm.history, now.history];
  const same = (['seq', 'stime', 'hostname'] as const).every(
    // XML written by hand may have a record without STIME.
    (key) => was?.[key] === undefined || was[key] === is?.[key],
  );
  if (same) return;
  const inWords = (record: typeof was) => (record ? `${record.seq} on ${record.hostname}` : 'none');
  throw new FailedError(
    `VM ${vm.id} was started or migrated ${when} (its last history record was ${inWords(was)} and is ${inWords(is)}); nothing was exported, try again`,
  );
}
