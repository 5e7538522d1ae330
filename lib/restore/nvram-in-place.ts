// The UEFI variables of a VM that a restore has just made. The VM's host is known when OpenNebula begins to deploy it (PROLOG), and what
// comes after is soon there: so it is watched for. Where OpenNebula was faster, the VM is powered off once, before its guest has done
// much, gets its file, and is resumed.
import { setTimeout as sleep } from 'node:timers/promises';
import type { OneClient } from '../one/client.ts';
import { actOnVm, getVm } from '../one/vms.ts';
import { errorMessage, FailedError, OnevmdumpError } from '../report/errors.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { Run } from '../run/run.ts';
import type { Runner } from '../run/runner.ts';
import { stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';
import { placeNvram } from './place-nvram.ts';

const pollMs = 100;
/** So long a VM may wait for a host, and then for RUNNING or POWEROFF. */
const limitMs = 300_000;

/** Never fails, also when it is interrupted: the VM is there, and what it lacks is a warning. */
export async function nvramInPlace(
  vmId: number,
  nvram: Uint8Array,
  { run, one }: { readonly run: Run; readonly one: OneClient },
): Promise<void> {
  run.log.info(`VM ${vmId} gets its UEFI variables as soon as it has a host`);
  try {
    const vm = await when(one, vmId, run, ({ history }) => history !== undefined);
    const { datastoreLocation } = run;
    const runner = await runnerOf(vm, run);
    const placed = await placeNvram(vm, nvram, runner, { datastoreLocation, how: 'new' });
    if (placed === 'there') await replace(vm, nvram, runner, { run, one });
    run.log.info(`VM ${vmId} has its UEFI variables`);
  } catch (error) {
    if (!(error instanceof OnevmdumpError)) throw error;
    run.log.warn(
      `VM ${vmId} may start with new UEFI variables: ${errorMessage(error)}; those of the bundle can be put into place while it is powered off: docs/restore.md`,
    );
  }
}

async function replace(
  { id }: Vm,
  nvram: Uint8Array,
  runner: Runner,
  { run, one }: { readonly run: Run; readonly one: OneClient },
): Promise<void> {
  run.log.info(`VM ${id} was started before its UEFI variables were in place: it is started anew`);
  await when(one, id, run, (vm) => stateName(vm.state, vm.lcmState) === 'RUNNING');
  await actOnVm(one, id, 'poweroff-hard');
  try {
    const off = await when(one, id, run, (vm) => stateName(vm.state, vm.lcmState) === 'POWEROFF');
    const { datastoreLocation } = run;
    await placeNvram(off, nvram, runner, { datastoreLocation, how: 'over' });
  } finally {
    await actOnVm(one, id, 'resume').catch((error: unknown) => {
      run.log.warn(
        `VM ${id} is powered off (${errorMessage(error)}): start it with: onevm resume ${id}`,
      );
    });
  }
}

async function runnerOf({ history }: Vm, run: Run): Promise<Runner> {
  return run.runnerAt(await targetOfHost(history?.hostname ?? ''));
}

/** The VM when it is as wanted. @throws FailedError when it takes too long */
async function when(
  one: OneClient,
  id: number,
  run: Run,
  wanted: (vm: Vm) => boolean,
): Promise<Vm> {
  const end = performance.now() + limitMs;
  for (;;) {
    run.signal.throwIfAborted();
    const vm = await getVm(one, id);
    if (wanted(vm)) return vm;
    const state = stateName(vm.state, vm.lcmState);
    if (/FAILURE|^DONE$/.test(state) || performance.now() > end) {
      throw new FailedError(`it is in state ${state}`);
    }
    await sleep(pollMs);
  }
}
