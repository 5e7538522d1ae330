// Checks that QEMU writes to the disks that OpenNebula means, whatever their storage.
import type { DomainFacts } from '../guest/domain.ts';
import { requireSameDisk } from '../guest/same-disk.ts';
import type { Run } from '../run/run.ts';
import { diskLabel, type RunningDisk } from './storage.ts';

/**
 * @returns the target of each disk: the device in the guest, such as vda
 * @throws FailedError when QEMU writes to another disk, uses it in another format, or copies or merges it
 */
export async function requireSameDisks(
  disks: readonly RunningDisk[],
  facts: DomainFacts,
  run: Run,
): Promise<ReadonlyMap<RunningDisk, string>> {
  const targets = new Map<RunningDisk, string>();
  for (const disk of disks) {
    const { plan, place } = disk;
    const {
      format,
      disk: { target },
    } = plan;
    targets.set(
      disk,
      await requireSameDisk({ label: diskLabel(plan), target, place, format }, facts, run),
    );
  }
  return targets;
}
