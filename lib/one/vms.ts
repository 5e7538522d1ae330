// one.vm.*: what oned knows of a VM.
import { parseVm } from '../input/vm-xml.ts';
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
