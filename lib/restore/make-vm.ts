// Instantiates a restored template. When steps are needed before the VM runs, it is made on HOLD and released after them.
import type { OneClient } from '../one/client.ts';
import { instantiateTemplate } from '../one/templates.ts';
import { endVm } from '../one/undo.ts';
import { releaseVm } from '../one/vms.ts';
import { OpenNebulaError } from '../report/errors.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import { addressAdvice } from './instantiable.ts';
import { recordedCall } from './recorded-call.ts';

export interface MakeVmOptions {
  readonly run: Run;
  readonly one: OneClient;
  /** Done in this order before the VM runs. */
  readonly steps: readonly ((vmId: number) => Promise<void>)[];
  /** The undo entry that terminates the VM is added to this list. */
  readonly made: JournalEntry[];
}

/** Makes the VM. @returns its id. @throws OpenNebulaError, and what the steps throw */
export async function makeVm(
  { name, templateId }: { readonly name: string; readonly templateId: number },
  { run, one, steps, made }: MakeVmOptions,
): Promise<number> {
  const { endpoint } = one;
  const since = Date.now();
  const entry = await run.journal.record(endVm.undo({ endpoint, name, templateId, since }));
  made.push(entry);
  const hold = steps.length > 0;
  let vmId: number;
  try {
    vmId = await recordedCall(entry, () => instantiateTemplate(one, templateId, { name, hold }));
  } catch (error) {
    // The address has been taken since the check, or by a VM that this user may not see.
    const isAddress = /Cannot get IP\/MAC lease/;
    if (!(error instanceof OpenNebulaError) || !isAddress.test(error.message)) throw error;
    throw new OpenNebulaError(`${error.message.replace(/\.$/, '')}: ${addressAdvice}`, {
      oneCode: error.oneCode,
      cause: error,
    });
  }
  for (const step of steps) await step(vmId);
  if (hold) await releaseVm(one, vmId);
  return vmId;
}
