// `prebackup` and `prebackup_live`: fixes one point in time of the disks that a backup is to hold, and leaves the rest to
// our `backup`, which reads them, and to `postbackup`, which releases them. Nothing is staged.
import type { FreezeMode } from '../config/freeze-mode.ts';
import { decodeVmInput } from '../xml/stdin.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { childText } from '../xml/xml.ts';
import { parseBackupArguments, refuseIncrements, requireVm } from './backup-request.ts';
import { disksPlace } from './disks-host.ts';
import { imageFacts } from './image-facts.ts';
import { keepPrepared } from './prepared-backup.ts';
import { UnsupportedError } from '../report/errors.ts';
import { silent } from '../report/progress.ts';
import { stateFolder } from '../session/state-folder.ts';
import type { FreezeWish } from '../guest/freeze.ts';
import { stateAround } from '../storage/machine-state.ts';
import { fixPointInTime } from '../storage/point-in-time.ts';
import { planDisks } from '../storage/registry.ts';
import { activityOf, stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';
import { withRun } from '../session/with-run.ts';
import type { IsOurs, Outcome, TmContext } from './tm-action.ts';

/**
 * What an earlier backup of the VM left is undone first: oned makes one at a time.
 * @throws an OnevmdumpError of any kind; guest and storage are as before then
 */
export async function prebackup(
  { args, stdin, config: load, log, signal }: TmContext,
  isOurs: IsOurs,
): Promise<Outcome> {
  if ((await isOurs()) !== true) return 'stock';
  const known = parseBackupArguments(args);
  const vm = parseVm(decodeVmInput(stdin));
  requireVm(vm, known.vmId);
  refuseIncrements(vm);
  if (!activityOf(vm.state, vm.lcmState)) {
    const state = stateName(vm.state, vm.lcmState);
    throw new UnsupportedError(`VM ${vm.id} is in state ${state} and cannot be backed up in it`, {
      code: 'unsupported-state',
      facts: { vmId: vm.id, state },
    });
  }
  const { remote, config } = await disksPlace(known, await load());
  const images = await imageFacts(vm, config, log);
  const plans = planDisks(vm, images, known.diskIds);
  const folder = await stateFolder(config.stateDir, process.env);
  const freeze = freezeWish(vm);
  if (freeze.mode === 'none' && activityOf(vm.state, vm.lcmState) === 'running') {
    log.warn(
      `the guest of VM ${vm.id} is not frozen, so this backup is as after a power cut (crash): FS_FREEZE of its backup configuration is NONE, which is OpenNebula's default; FS_FREEZE = "AGENT" has its agent freeze it`,
    );
  }
  const setup = { config, action: 'backup', vmId: vm.id, remote, log, signal } as const;
  await withRun({ ...setup, hold: true, progress: silent }, async (run) => {
    const { fixed: pointInTime, state } = await stateAround(vm, run, () =>
      fixPointInTime(plans, run, freeze),
    );
    await keepPrepared({ vm, images, pointInTime, state }, folder, run);
  });
  return 'done';
}

/**
 * FS_FREEZE of the VM's backup configuration; NONE where it has none, as for oned. What the owner asks for is required,
 * as it is by OpenNebula's own actions.
 */
function freezeWish({ backupConfig }: Vm): FreezeWish {
  const word = backupConfig && childText(backupConfig, 'FS_FREEZE')?.toLowerCase();
  const mode: FreezeMode = word === 'agent' || word === 'suspend' ? word : 'none';
  return { mode, required: mode !== 'none' };
}
