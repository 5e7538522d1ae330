// one.vm.*: what oned knows of a VM.
import { parseVm } from '../input/vm-xml.ts';
import { OpenNebulaError } from '../report/errors.ts';
import { isInBackup } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';
import type { OneClient } from './client.ts';

/**
 * The VM as oned describes it; `xmlBytes` is the answer byte for byte. Values that oned keeps encrypted
 * (VM_ENCRYPTED_ATTR, by default CONTEXT/PASSWORD) stay so: registered again with the same oned they
 * are recognized (Attribute.cc, encrypt), and no bundle holds them in the clear.
 * @throws OpenNebulaError, UsageError when the answer is not a VM's XML
 */
export async function getVm(client: OneClient, id: number): Promise<Vm> {
  return parseVm(Buffer.from(await client.text('one.vm.info', id, false)));
}

const codeNoSuchObject = 1024;

/** Whether oned has answered that there is no such object. */
export function noSuchObject(error: unknown): boolean {
  return error instanceof OpenNebulaError && error.code === codeNoSuchObject;
}

/** Whether oned is backing up the VM at this moment. A VM that is gone is not. @throws OpenNebulaError */
export async function isBackedUp(client: OneClient, id: number): Promise<boolean> {
  try {
    const { lcmState } = await getVm(client, id);
    return isInBackup(lcmState);
  } catch (error) {
    if (noSuchObject(error)) return false;
    throw error;
  }
}
