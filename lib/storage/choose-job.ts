// Decides which disks of a running VM a backup job of QEMU fixes, and which the snapshots of their storages.
import type { SnapshotWay } from '../config/snapshot-way.ts';
import type { FreezeMode } from '../config/freeze-mode.ts';
import { domainOf } from '../guest/domain.ts';
import { reachAgent } from '../guest/guest-agent.ts';
import type { Run } from '../run/run.ts';
import { planJob, type PlannedJob } from './job/job.ts';
import type { DumpPlan, PlannedDump, RunningDisk, StorageModule } from './storage.ts';

/** How the point in time is requested, as far as it decides between the two ways. */
export interface WayRequest {
  readonly way: SnapshotWay;
  readonly mode: FreezeMode;
}

/** The job, if there is one, and the disks that it fixes. */
export interface JobChoice {
  readonly job?: PlannedJob;
  readonly byJob: readonly PlannedDump[];
}

/**
 * Chooses between a job for all disks, and one only for the disks on storages without snapshots. Changes nothing.
 * @param written the disks of one VM to which its guest writes
 * @throws why there can be no backup job, if one is requested or needed
 */
export async function chooseJob(
  written: readonly PlannedDump[],
  { way, mode }: WayRequest,
  run: Run,
): Promise<JobChoice> {
  const needed = written.filter(({ module }) => !module.hasSnapshots);
  const others = new Set(written.map(({ module }) => module).filter((one) => one.hasSnapshots));
  if (way !== 'storage' && written.length > 0) {
    const disks = await lookAt(written, run);
    // Two storages that make snapshots have checks and limits of their own, which a job does not need.
    if (way === 'auto' && others.size === 1 && (await snapshotsReadLess(disks, mode, run))) {
      run.log.debug('the storage makes snapshots: QEMU might read the holes of its disks');
    } else {
      const job = await planJob(disks, run);
      if (!('refusal' in job)) return { job, byJob: written };
      if (way === 'qemu' || needed.length === written.length) throw job.refusal;
      run.log.warn(
        `the storage makes snapshots of the disks, since QEMU cannot fix their point in time by one backup job: ${job.refusal.message}`,
      );
    }
  }
  if (needed.length === 0) return { byJob: [] };
  const job = await planJob(await lookAt(needed, run), run);
  if ('refusal' in job) throw job.refusal;
  return { job, byJob: needed };
}

/** The plans of each module. */
export function byModule(
  plans: readonly PlannedDump[],
): ReadonlyMap<StorageModule, readonly DumpPlan[]> {
  const found = new Map<StorageModule, DumpPlan[]>();
  for (const { module, plan } of plans) found.set(module, [...(found.get(module) ?? []), plan]);
  return found;
}

async function lookAt(plans: readonly PlannedDump[], run: Run): Promise<readonly RunningDisk[]> {
  const disks: RunningDisk[] = [];
  for (const [module, own] of byModule(plans)) disks.push(...(await module.running(own, run)));
  return disks;
}

/**
 * Whether QEMU might read the holes of a disk, which its storage knows, and snapshots of the storages would be of one
 * point in time as well: one snapshot is, and several are while the guest is frozen or paused.
 * docs/decisions/0011-running-guests.md has what was measured.
 */
async function snapshotsReadLess(
  disks: readonly RunningDisk[],
  mode: FreezeMode,
  run: Run,
): Promise<boolean> {
  const [first] = disks;
  if (!first || !disks.some(({ holesUnknown }) => holesUnknown)) return false;
  if (disks.length === 1 || mode === 'suspend') return true;
  const { vm } = first.plan;
  return mode === 'agent' && (await reachAgent(vm, domainOf(vm, run))) === undefined;
}
