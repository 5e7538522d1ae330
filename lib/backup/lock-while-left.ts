// Locks a VM after its backup if something of ours could not be removed from its storage or its QEMU. oned's BACKUP
// state, which protected the VM until then, ends with the backup, whether or not everything is undone.
import type { Config } from '../config/config.ts';
import { getVm } from '../one/vms.ts';
import { holdLock } from '../one/locks.ts';
import { errorMessage, OnevmdumpError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { adoptJournal } from '../run/journal.ts';
import { factsOf } from '../session/undo-handlers.ts';
import { connect } from '../session/with-run.ts';

/**
 * Locks the VM, and records in the journal that has the rest how to unlock it: whoever carries out the rest also unlocks
 * the VM. Does nothing if what is left is not on the VM's storage. If the VM cannot be locked, that is a warning.
 * @param path of a journal that could not be undone completely
 */
export async function lockWhileLeft(
  path: string,
  vmId: number,
  { config, log }: { readonly config: Config; readonly log: Log },
): Promise<void> {
  const { journal, pending } = await adoptJournal(path, log);
  try {
    const facts = pending.map(({ undo }) => factsOf(undo));
    if (!facts.some(({ freesStorage }) => freesStorage)) return;
    if (facts.some(({ unlocks }) => unlocks !== undefined)) return;
    const client = await connect({ config, endpoint: undefined, log });
    await holdLock(client, await getVm(client, vmId), journal);
    log.warn(
      `VM ${vmId} is locked, since something of ours is left on its storage or in its QEMU; when that can be removed, this removes it and unlocks the VM: onevmdump cleanup`,
    );
  } catch (error) {
    if (!(error instanceof OnevmdumpError)) throw error;
    log.warn(
      `something of ours is left on the storage of VM ${vmId} or in its QEMU, and the VM cannot be locked (${errorMessage(error)}): do not start, move or delete it before onevmdump cleanup has removed that`,
    );
  } finally {
    await journal.hold();
  }
}
