// Finds the logical volumes of a VM's disks. They may be in several volume groups: those of TM lvm are in the groups of
// their images' datastores, and one VM can have disks of both TM lvm and TM fs_lvm.
import { FailedError, OnevmdumpError } from '../../report/errors.ts';
import type { Run } from '../../run/run.ts';
import {
  devicePath,
  readVolumeGroup,
  type Lvm,
  type Volume,
  type VolumeGroup,
} from '../../tools/lvm.ts';
import { isRunning } from '../../guest/domain.ts';
import { diskLabel, type DumpPlan } from '../storage.ts';
import { diskVolume, isSharedVolume } from './names.ts';

export interface LvmDisk {
  readonly plan: DumpPlan;
  readonly volume: Volume;
  /** Its device, which is there while it is active. */
  readonly path: string;
  /** Whether other VMs may use the volume as well. */
  readonly isShared: boolean;
}

/** The disks of a VM that are in one volume group. */
export interface GroupOfDisks {
  readonly group: VolumeGroup;
  readonly disks: readonly LvmDisk[];
}

/**
 * Looks at the volumes of these disks (of one VM), each group once.
 * @returns the groups by their names, in alphabetical order
 * @throws CommandError when a group cannot be looked at; FailedError when a volume is missing, or is not active
 *   although the VM runs
 */
export async function findVolumes(
  plans: readonly DumpPlan[],
  lvm: Lvm,
): Promise<readonly GroupOfDisks[]> {
  const byGroup = new Map<string, DumpPlan[]>();
  for (const plan of plans) {
    const { group } = diskVolume(plan.vm, plan.disk);
    byGroup.set(group, [...(byGroup.get(group) ?? []), plan]);
  }
  const found: GroupOfDisks[] = [];
  for (const [name, own] of [...byGroup].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const group = await readVolumeGroup(lvm, name).catch((error: unknown) => {
      if (error instanceof OnevmdumpError) error.message += `; it is to have ${disksInWords(own)}`;
      throw error;
    });
    found.push({ group, disks: own.map((plan) => diskIn(group, plan, lvm.runner)) });
  }
  return found;
}

function diskIn(group: VolumeGroup, plan: DumpPlan, { where }: Run['runner']): LvmDisk {
  const { vm, disk } = plan;
  const { name } = diskVolume(vm, disk);
  const volume = group.volumes.get(name);
  if (!volume) {
    throw new FailedError(
      `${diskLabel(plan)} is missing: there is no volume ${name} in the volume group ${group.name} on ${where}`,
    );
  }
  if (isRunning(vm) && !volume.active) {
    throw new FailedError(
      `VM ${vm.id} should run, but the volume ${group.name}/${name} of its disk ${disk.id} is not active on ${where}`,
    );
  }
  return { plan, volume, path: devicePath(volume), isShared: isSharedVolume(vm, disk) };
}

/** "disk 0 and disk 1 of VM 7". */
export function disksInWords(plans: readonly DumpPlan[]): string {
  const disks = plans.map(({ disk }) => `disk ${disk.id}`);
  return `${disks.join(' and ')} of VM ${plans[0]?.vm.id ?? ''}`;
}
