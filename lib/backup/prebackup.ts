// `prebackup` and `prebackup_live`: fix one point in time for all disks of a backup. Our `backup` then reads the disks, and
// `postbackup` releases them. Nothing is staged.
import type { FreezeMode } from '../config/freeze-mode.ts';
import { decodeVmInput } from '../xml/stdin.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { childText } from '../xml/xml.ts';
import { parseBackupArguments, refuseIncrements, requireVm } from './backup-request.ts';
import { disksHost } from './disks-host.ts';
import { imageFacts } from './image-facts.ts';
import { keepPrepared } from './prepared-backup.ts';
import { UnsupportedError } from '../report/errors.ts';
import { silent } from '../report/progress.ts';
import { stateFolder } from '../session/state-folder.ts';
import type { FreezeRequest } from '../guest/freeze.ts';
import { stateAround } from '../storage/machine-state.ts';
import { fixPointInTime } from '../storage/point-in-time.ts';
import { planDumps } from '../storage/registry.ts';
import { requireKvm } from '../vm/hypervisor.ts';
import { activityOf, stateName } from '../vm/states.ts';
import type { Vm } from '../vm/vm.ts';
import { withRun } from '../session/with-run.ts';
import type { IsOurs, Outcome, TmContext } from './tm-action.ts';

/**
 * Fixes the point in time. What an earlier backup of the VM left behind is undone first, since oned makes only one at a time.
 * @throws an OnevmdumpError of any kind; then guest and storage are as before
 */
export async function prebackup(
  { args, stdin, config: load, log, signal }: TmContext,
  isOurs: IsOurs,
): Promise<Outcome> {
  if ((await isOurs()) !== true) return 'stock';
  const known = parseBackupArguments(args);
  const vm = parseVm(decodeVmInput(stdin));
  requireVm(vm, known.vmId);
  requireKvm(vm);
  refuseIncrements(vm);
  if (!activityOf(vm.state, vm.lcmState)) {
    const state = stateName(vm.state, vm.lcmState);
    throw new UnsupportedError(
      `VM ${vm.id} is in state ${state}, in which it cannot be backed up`,
      {
        code: 'unsupported-state',
        facts: { vmId: vm.id, state },
      },
    );
  }
  const { remote, config } = await disksHost(known, await load());
  const images = await imageFacts(vm, config, log);
  const plans = planDumps(vm, images, known.diskIds);
  const folder = await stateFolder(config.stateDir, process.env);
  const freeze = requestedFreeze(vm);
  if (freeze.mode === 'none' && activityOf(vm.state, vm.lcmState) === 'running') {
    log.warn(
      `the guest of VM ${vm.id} is not frozen, so its disks are as after a power cut (crash): FS_FREEZE of its backup configuration is NONE, which is OpenNebula's default; with FS_FREEZE = "AGENT" the guest agent freezes its file systems`,
    );
  }
  const setup = { config, action: 'backup', vmId: vm.id, remote, log, signal } as const;
  await withRun({ ...setup, hold: true, progress: silent }, async (run) => {
    const { fixed: pointInTime, state } = await stateAround(vm, run, () =>
      fixPointInTime(plans, run, { freeze, way: config.snapshot }),
    );
    await keepPrepared({ vm, images, pointInTime, state }, folder, run);
  });
  return 'done';
}

/**
 * FS_FREEZE of the VM's backup configuration; NONE when it is not set, as in oned. If the requested freeze is not possible,
 * the backup fails, as OpenNebula's own actions do.
 */
function requestedFreeze({ backupConfig }: Vm): FreezeRequest {
  const word = backupConfig && childText(backupConfig, 'FS_FREEZE')?.toLowerCase();
  const mode: FreezeMode = word === 'agent' || word === 'suspend' ? word : 'none';
  return { mode, required: mode !== 'none' };
}
