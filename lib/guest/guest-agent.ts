// Finds out whether a guest's agent answers and may freeze its file systems.
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionError, errorMessage, FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { fileSystemState } from '../tools/fsfreeze.ts';
import type { Domain } from '../tools/virsh.ts';
import type { Vm } from '../vm/vm.ts';
import { domainOf } from './domain.ts';

/** The pause between two attempts to reach the agent of a guest that is booting. */
const bootPollMs = 1000;

/**
 * Waits for the agent of a guest that is booting. This can take minutes, so it must happen before the guest is frozen
 * or paused, and before the storages' locks are taken.
 * @param waitMs milliseconds, at most
 * @throws ConnectionError, InterruptedError; FailedError when another tool has frozen the guest
 */
export async function awaitBootingAgent(vm: Vm, waitMs: number, run: Run): Promise<void> {
  const { log, signal } = run;
  const deadline = performance.now() + waitMs;
  for (let told = false; performance.now() < deadline; told = true) {
    const refusal = await reachAgent(vm, domainOf(vm, run));
    // libvirt says this if the domain declares an agent that does not run yet. An agent that is not declared will
    // never come.
    if (refusal?.includes('agent is not connected') !== true) return;
    if (!told) log.info(`waiting for the guest agent of VM ${vm.id}, which is not there yet`);
    await sleep(bootPollMs, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
}

/**
 * @returns why the agent cannot freeze the file systems; undefined if it answers and nothing is frozen
 * @throws FailedError when another tool has frozen them: we could neither freeze them nor know how long they stay
 *   frozen; ConnectionError
 */
export async function reachAgent(vm: Vm, domain: Domain): Promise<string | undefined> {
  try {
    if ((await fileSystemState(domain)) === 'thawed') return undefined;
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    return errorMessage(error);
  }
  throw new FailedError(
    `the guest of VM ${vm.id} is frozen already: another tool, such as another backup, has frozen its file systems, and they are left to it. Try again when they are thawed; if that tool is gone, thaw them with: virsh domfsthaw ${domain.name}`,
    { code: 'guest-frozen', facts: { vmId: vm.id } },
  );
}
