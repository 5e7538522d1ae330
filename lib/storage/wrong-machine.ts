// Improves errors about disks that were looked for on the wrong machine: OpenNebula's front-end seldom has the disks
// of a VM.
import { OnevmdumpError } from '../report/errors.ts';
import { isThisMachine } from '../run/local-host.ts';
import type { Run } from '../run/run.ts';
import { realPaths } from '../tools/file-facts.ts';
import { vmFolder } from '../vm/names.ts';
import type { Vm } from '../vm/vm.ts';
import { ElsewhereError } from '../guest/domain.ts';

/**
 * Runs `work` on a VM's disks on this machine. If it fails because they are not here, the error says which host the
 * VM was on last.
 */
export async function withHostAdvice<T>(vm: Vm, run: Run, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { history } = vm;
    if (run.runner.target || run.signal.aborted || !history || history.hostname === '') throw error;
    if (!(error instanceof OnevmdumpError) || (await isThisMachine(history.hostname))) throw error;
    const folder = vmFolder(run.datastoreLocation, history.datastoreId, vm.id);
    const here = await realPaths(run.runner, [folder]).catch(() => [folder]);
    if (here.length > 0 && !(error instanceof ElsewhereError)) throw error;
    // The same error is thrown again, so that its class stays the same.
    error.message += `; this was looked for on this machine, and VM ${vm.id} was last on ${history.hostname}: try --remote-host ${history.hostname}`;
    throw error;
  }
}
