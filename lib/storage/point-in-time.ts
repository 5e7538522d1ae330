// Fixes one point in time for all disks of a VM, whatever modules serve them: QEMU's backup job and the modules prepare,
// the guest is frozen or paused, the disks are fixed, the guest is thawed or resumed.
import { setTimeout as sleep } from 'node:timers/promises';
import { freezeGuest, type FreezeRequest, type FreezeResult } from '../guest/freeze.ts';
import { awaitBootingAgent } from '../guest/guest-agent.ts';
import type { SnapshotWay } from '../config/snapshot-way.ts';
import { isRunning } from '../guest/domain.ts';
import type { DiskReader } from '../read/disk-reader.ts';
import { FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { isReadOnly, type Vm } from '../vm/vm.ts';
import { byModule, chooseJob, type WayRequest } from './choose-job.ts';
import { openServedDisk } from './job/served-disk.ts';
import {
  diskLabel,
  type OpenableDisk,
  type PlannedDump,
  type PointInTime,
  type Prepared,
  type Snapshot,
  type VmSnapshot,
} from './storage.ts';

/**
 * How long the guest waits for all storages together: 10 s, or 2 s for each disk if that is more, since LVM makes one
 * snapshot after another, but never more than 30 s. Linux stays frozen until it is thawed, but the services on it
 * have time limits of their own, and its kernel complains after 120 s. Windows ends a freeze by itself after 10 s
 * (VSS).
 */
export function snapshotLimitMs(disks: number): number {
  return Math.min(30_000, Math.max(10_000, disks * 2000));
}

/** How the point in time of a running VM's disks is fixed. */
export interface SnapshotRequest {
  readonly freeze: FreezeRequest;
  readonly way: SnapshotWay;
}

const byDefault: SnapshotRequest = { freeze: { mode: 'agent', required: false }, way: 'auto' };

/**
 * Fixes one point in time for all planned disks (of one VM), on whatever storages, and makes them ready to be read. A
 * running guest is frozen or paused meanwhile, as requested. The undo of everything that this changes is in the
 * run's journal.
 */
export async function snapshotDisks(
  plans: readonly PlannedDump[],
  run: Run,
  request = byDefault,
): Promise<VmSnapshot> {
  const { snapshots, consistency } = await fixPointInTime(plans, run, request);
  return vmSnapshot(plans, { snapshots, consistency }, run);
}

/**
 * The first half of `snapshotDisks`. Another process may open what it returns, while the journal is kept.
 * @param limitMs how long the guest waits for all storages together.
 * @throws what failed, after no storage is at work any more.
 */
export async function fixPointInTime(
  plans: readonly PlannedDump[],
  run: Run,
  { freeze, way }: SnapshotRequest,
  limitMs = snapshotLimitMs(plans.length),
): Promise<PointInTime> {
  const parts = await prepareAll(plans, { way, mode: freeze.mode }, run);
  const [first] = plans;
  if (!first || howFixed(parts).length === 0) {
    const at = new Date().toISOString();
    return { snapshots: await fixAll(parts), consistency: { level: 'offline', at, frozenMs: 0 } };
  }
  const { mode, agentWaitMs = 0 } = freeze;
  if (mode === 'agent') await awaitBootingAgent(first.plan.vm, agentWaitMs, run);
  const releases: (() => Promise<void>)[] = [];
  try {
    for (const part of parts) {
      const release = await part.claim?.();
      if (release) releases.push(release);
    }
    return await fixWhileFrozen(first.plan.vm, limitMs, parts, freeze, run);
  } finally {
    for (const release of releases) await release();
  }
}

/** Prepares a backup job for the disks that are fixed by it, and the modules of all others. */
async function prepareAll(
  plans: readonly PlannedDump[],
  request: WayRequest,
  run: Run,
): Promise<readonly Prepared[]> {
  warnOfSharing(plans, run);
  const { job, byJob } = await chooseJob(plans.filter(isWrittenTo), request, run);
  const parts = job ? [await job.prepare()] : [];
  const others = plans.filter((one) => !byJob.includes(one));
  for (const [module, own] of byModule(others)) parts.push(await module.prepare(own, run));
  return parts;
}

/** Warns of disks to which other VMs may write at any time: for them there is no point in time. */
function warnOfSharing(plans: readonly PlannedDump[], { log }: Run): void {
  for (const { plan } of plans) {
    if (!plan.disk.shareable || isReadOnly(plan.disk)) continue;
    log.warn(
      `${diskLabel(plan)} is shareable: if other VMs write to it meanwhile, what is read is of no single point in time`,
    );
  }
}

function isWrittenTo({ plan: { vm, disk } }: PlannedDump): boolean {
  return isRunning(vm) && !isReadOnly(disk);
}

/** Fixes the point in time of disks that a running guest writes to. */
async function fixWhileFrozen(
  vm: Vm,
  limitMs: number,
  parts: readonly Prepared[],
  freeze: FreezeRequest,
  run: Run,
): Promise<PointInTime> {
  const guest = await freezeGuest(vm, freeze, run);
  const at = new Date().toISOString();
  const work = fixAll(parts);
  // The guest does not wait for a slow storage: it is thawed or resumed, and the point in time is lost.
  const inTime = await settlesWithin(work, limitMs);
  let frozen: FreezeResult;
  try {
    frozen = await guest.thaw();
  } finally {
    // The locks are released and the undo begins only when no storage is still making a snapshot.
    await work.catch(() => undefined);
  }
  const snapshots = await work;
  if (!inTime) {
    throw new FailedError(
      `cannot fix the point in time of the disks of VM ${vm.id}: it took longer than ${limitMs / 1000} s, and the guest was thawed or resumed meanwhile`,
    );
  }
  const fixed = howFixed(parts);
  if (frozen.level === 'crash' && (fixed.length > 1 || fixed.includes('apart'))) {
    run.log.warn(
      `the disks of VM ${vm.id} are each of a point in time of its own, since its guest runs on (crash); one backup job fixes all of them together (--snapshot qemu)`,
    );
  }
  return { snapshots, consistency: { ...frozen, at } };
}

/**
 * The second half of `snapshotDisks`: disks that can be read.
 * @param plans those whose point in time was fixed
 */
export function vmSnapshot(
  plans: readonly PlannedDump[],
  { snapshots, consistency }: PointInTime,
  run: Run,
): VmSnapshot {
  return {
    disks: openableDisks(plans, snapshots, run),
    consistency,
    async requireUnwritten() {
      for (const module of new Set(plans.map((one) => one.module))) {
        const ids = plans.filter((one) => one.module === module).map(({ plan }) => plan.disk.id);
        const own = snapshots.filter(({ plan, byJob }) => !byJob && ids.includes(plan.disk.id));
        await module.requireUnwritten?.(own, run);
      }
    },
  };
}

function openableDisks(
  plans: readonly PlannedDump[],
  snapshots: readonly Snapshot[],
  run: Run,
): readonly OpenableDisk[] {
  const disks: OpenableDisk[] = [];
  for (const { module, plan } of plans) {
    const snapshot = snapshots.find((one) => one.plan.disk.id === plan.disk.id);
    if (!snapshot) throw new Error(`no point in time was fixed for disk ${plan.disk.id}`);
    const { layout, virtualSize, byJob } = snapshot;
    const open = (): Promise<DiskReader> =>
      byJob ? openServedDisk(snapshot, run) : module.open(snapshot, run);
    disks.push({ id: plan.disk.id, layout, virtualSize, open });
  }
  return disks.sort((one, other) => one.id - other.id);
}

/** How each module fixes the point in time of disks that somebody writes to. */
function howFixed(parts: readonly Prepared[]): readonly Prepared['pointInTime'][] {
  return parts.map(({ pointInTime }) => pointInTime).filter((how) => how !== 'given');
}

async function fixAll(parts: readonly Prepared[]): Promise<readonly Snapshot[]> {
  const snapshots: Snapshot[] = [];
  for (const prepared of parts) snapshots.push(...(await prepared.snapshot()));
  return snapshots;
}

/** Whether `work` succeeds or fails within that time. Never rejects. */
async function settlesWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const ended = work.then(
    () => true,
    () => true,
  );
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false);
  try {
    return await Promise.race([ended, late]);
  } finally {
    timer.abort();
  }
}
