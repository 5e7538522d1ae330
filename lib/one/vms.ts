// one.vm.*: what oned knows about a VM.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseVm } from '../vm/vm-xml.ts';
import { child, textIn } from '../xml/xml.ts';
import { isInBackup } from '../vm/states.ts';
import { OpenNebulaError } from '../report/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { askPool, isRefusal, noSuchObject, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

/**
 * Returns the VM as oned describes it; `xmlBytes` is the answer byte for byte. Values that oned keeps encrypted
 * (VM_ENCRYPTED_ATTR, by default CONTEXT/PASSWORD) stay encrypted: the same oned recognizes them when they are
 * registered again (Attribute.cc, encrypt), and no bundle contains them in plain text.
 * @throws OpenNebulaError, UsageError when the answer is not a VM's XML
 */
export async function getVm(client: OneClient, id: number): Promise<Vm> {
  return parseVm(Buffer.from(await vmInfo(client, id)));
}

async function vmInfo(client: OneClient, id: number): Promise<string> {
  try {
    return await client.text('one.vm.info', id, false);
  } catch (error) {
    if (!noSuchObject(error)) throw error;
    const { message, oneCode } = error;
    const facts = { vmId: id };
    throw new OpenNebulaError(message, { oneCode, code: 'vm-not-found', facts, cause: error });
  }
}

/** Whether oned is backing up the VM now; false if the VM is gone. @throws OpenNebulaError */
export async function isBackedUp(client: OneClient, id: number): Promise<boolean> {
  try {
    const { lcmState } = await getVm(client, id);
    return isInBackup(lcmState);
  } catch (error) {
    if (noSuchObject(error)) return false;
    throw error;
  }
}

/** Releases a VM that was made on HOLD, so that it is scheduled. @throws OpenNebulaError */
export async function releaseVm(client: OneClient, id: number): Promise<void> {
  await actOnVm(client, id, 'release');
}

/** @throws OpenNebulaError; code 2048 when the VM's state does not allow it */
export async function actOnVm(
  client: OneClient,
  id: number,
  action: 'release' | 'poweroff-hard' | 'resume',
): Promise<void> {
  await client.call('one.vm.action', action, id);
}

/** Returns the VMs made from a template that the caller may use. @throws OpenNebulaError */
export async function vmsOfTemplate(client: OneClient, templateId: number): Promise<number[]> {
  // -1: VMs in any state but DONE. Only the extended pool contains the TEMPLATE.
  const pool = await askPool(client, 'VM_POOL', 'one.vmpool.infoextended', -2, -1);
  return pool.flatMap((vm) => {
    const template = child(vm, 'TEMPLATE');
    const made = template && textIn(template, 'TEMPLATE_ID') === String(templateId);
    return made ? [numberIn(vm, 'ID')] : [];
  });
}

const codeWrongState = 2048;

/**
 * Terminates a VM, unless it is already gone.
 * @param waitMs how long to try again while its state, such as PROLOG, does not allow it
 * @throws OpenNebulaError
 */
export async function terminateVm(client: OneClient, id: number, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    try {
      await client.call('one.vm.action', 'terminate-hard', id);
      return;
    } catch (error) {
      if (noSuchObject(error)) return;
      const isWrongState = isRefusal(error) && error.oneCode === codeWrongState;
      if (!isWrongState || Date.now() >= deadline) throw error;
    }
    await sleep(500);
  }
}
