// Checks a VM's logical volumes before they are dumped: nobody may write to the volumes of a VM that is off, we must
// be able to read them, and QEMU must write to the volumes that OpenNebula names.
import { FailedError } from '../../report/errors.ts';
import { runsOn } from '../../run/local-host.ts';
import type { Run } from '../../run/run.ts';
import { readVolumeGroup, type Lvm } from '../../tools/lvm.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import { stateName } from '../../vm/states.ts';
import { isReadOnly, type Vm } from '../../vm/vm.ts';
import { ElsewhereError } from '../../guest/domain.ts';
import type { GroupOfDisks, LvmDisk } from './volumes.ts';
import { requireUnused } from '../device-checks.ts';
import { diskLabel } from '../storage.ts';

/**
 * Checks that nobody uses the volumes of a VM that is off. A read-only image that other VMs may use can be open, since
 * nobody writes to it.
 * @throws FailedError for a volume that stays open
 */
export async function requireClosed(disks: readonly LvmDisk[], lvm: Lvm, run: Run): Promise<void> {
  const opened = disks.filter(
    ({ volume, isShared, plan }) => volume.open && !(isShared && isReadOnly(plan.disk)),
  );
  const look = async ({ volume }: LvmDisk): Promise<string | undefined> => {
    const now = (await readVolumeGroup(lvm, volume.group)).volumes.get(volume.name);
    return now?.open ? 'open' : undefined;
  };
  await requireUnused(opened, look, run);
}

/**
 * Checks that no thin volume may be active on another machine. A thin pool may be active on one machine only: a
 * second one that changes its metadata destroys it, and LVM does not see what is active on other machines. A VM that
 * is powered off keeps its volumes active on its host, unless the host was rebooted. The volumes of an undeployed VM
 * are active nowhere (OpenNebula's tm_mad/fs_lvm_ssh/mv deactivates them, 7.0 to 7.4, and tm_mad/lvm/mv, 7.4). An
 * image that other VMs may use can be active on any machine, whatever this VM does.
 * @throws ElsewhereError for a thin volume that may be active on another machine than this
 */
export async function requirePoolHere(
  vm: Vm,
  disks: readonly LvmDisk[],
  { runner }: Run,
): Promise<void> {
  const host = vm.history?.hostname ?? '';
  const isHere = stateName(vm.state, vm.lcmState) === 'UNDEPLOYED' || (await runsOn(runner, host));
  const found = disks.find(
    ({ volume, isShared }) => volume.thin && !volume.active && (isShared || !isHere),
  );
  if (!found) return;
  const { plan, volume, isShared } = found;
  const where = isShared
    ? 'on the machines of other VMs that use it'
    : `on ${host}, where the VM was last,`;
  throw new ElsewhereError(
    `${diskLabel(plan)} is a thin volume that is not active on ${runner.where}, and ${where} it may be: its pool ${volume.group}/${volume.pool ?? ''} is destroyed when two machines activate it. Export the VM there; or, if the volume is active nowhere, activate it first: lvchange -ay -K ${volume.group}/${volume.name}`,
  );
}

/**
 * Warns of snapshots that other exports made of these volumes, because they cost the guest time and the volume group
 * room.
 */
export function warnOfLeftovers({ disks, group: { volumes } }: GroupOfDisks, { log }: Run): void {
  for (const { plan, volume } of disks) {
    for (const { name, origin, group } of volumes.values()) {
      if (origin !== volume.name || !name.startsWith(ownPrefix)) continue;
      log.warn(
        `${diskLabel(plan)} has the snapshot ${name} of another export: it still runs, or it was killed and could not be cleaned up after; then remove it with: lvremove -f ${group}/${name}`,
      );
    }
  }
}

/**
 * A snapshot is made by the kernel of one machine, and does not notice what others write to its origin.
 * @throws FailedError for a disk to which other VMs may write
 */
export function requireAlone(disks: readonly LvmDisk[]): void {
  const shared = disks.find(({ isShared }) => isShared);
  if (!shared) return;
  throw new FailedError(
    `cannot make a snapshot of ${diskLabel(shared.plan)}: it is shareable, and a snapshot does not notice what VMs on other machines write to it; use --snapshot qemu`,
  );
}
