// Writes the UEFI variables of a VM that a restore has just made. OpenNebula chooses the VM's host when it begins to deploy
// it (PROLOG), and makes an empty file of variables soon after, so this polls for the host. If OpenNebula was faster, the VM
// is powered off before its guest has done much, its file is replaced, and it is resumed.
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
/** How long a VM may take to get a host, and then to reach RUNNING or POWEROFF. */
const limitMs = 300_000;

/**
 * Writes the variables into the VM's folder. A failure or an interruption is only a warning, because the VM itself has been
 * restored.
 */
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
    const result = await placeNvram(vm, nvram, runner, { datastoreLocation, how: 'new' });
    if (result === 'exists') await replace(vm, nvram, runner, { run, one });
    run.log.info(`VM ${vmId} has its UEFI variables`);
  } catch (error) {
    if (!(error instanceof OnevmdumpError)) throw error;
    run.log.warn(
      `VM ${vmId} may start with new UEFI variables: ${errorMessage(error)}; those in the bundle can be copied to its folder while it is powered off: docs/restore.md`,
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

/** Waits for a VM. @returns the VM when `isReached` is true of it. @throws FailedError when it takes too long */
async function when(
  one: OneClient,
  id: number,
  run: Run,
  isReached: (vm: Vm) => boolean,
): Promise<Vm> {
  const end = performance.now() + limitMs;
  for (;;) {
    run.signal.throwIfAborted();
    const vm = await getVm(one, id);
    if (isReached(vm)) return vm;
    const state = stateName(vm.state, vm.lcmState);
    if (/FAILURE|^DONE$/.test(state) || performance.now() > end) {
      throw new FailedError(`it is in state ${state}`);
    }
    await sleep(pollMs);
  }
}
