// Which module serves a disk: the one place where a TM_MAD decides anything. And the one moment that
// all disks of a VM share, whatever modules serve them.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { FailedError, UnsupportedError, UsageError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { isSharedFolder, isVolatile, type Disk, type Vm } from '../vm/vm.ts';
import { cephStorage } from './ceph/ceph.ts';
import { declaredFormat } from './disk-format.ts';
import { fileStorage } from './file/file.ts';
import { holdGuest, type FreezeWish, type Held } from '../guest/freeze.ts';
import { awaitBootingAgent } from '../guest/guest-agent.ts';
import { lvmStorage } from './lvm/lvm.ts';
import type {
  DumpPlan,
  Instant,
  OpenableDisk,
  Prepared,
  Snapshot,
  StorageModule,
  VmSnapshot,
} from './storage.ts';

/**
 * How long the guest waits for all storages together: 10 s, or 2 s for each disk where that is more, since LVM makes one
 * snapshot after another, but never more than 30 s. Linux waits for as long as it is frozen, but what it serves has time limits of
 * its own, and its kernel complains after 120 s; Windows ends a freeze by itself after 10 s (VSS).
 */
export function snapshotLimitMs(disks: number): number {
  return Math.min(30_000, Math.max(10_000, disks * 2000));
}

/** `local` is the name of `ssh` from OpenNebula 7.0 on. */
const modules = new Map<string, StorageModule>([
  ['ssh', fileStorage],
  ['local', fileStorage],
  ['shared', fileStorage],
  ['qcow2', fileStorage],
  ['fs_lvm', lvmStorage],
  ['fs_lvm_ssh', lvmStorage],
  ['ceph', cephStorage],
]);

/** A disk that is going to be dumped, and by whom. */
export interface DiskPlan {
  readonly module: StorageModule;
  readonly plan: DumpPlan;
}

/**
 * Plans the dump of the disks of a VM. Pure. Folders that the host shares with the guest are no disks, and left out.
 * @param images what oned knows of the disks' images, by DISK_ID.
 * @param only the DISK_IDs of those that are wanted; undefined: all.
 * @throws UnsupportedError for the first disk that cannot be dumped, UsageError for one that the VM does not have.
 */
export function planDisks(
  vm: Vm,
  images: ReadonlyMap<number, Pick<ImageFacts, 'format'>>,
  only?: readonly number[],
): readonly DiskPlan[] {
  const missing = only?.find((id) => !vm.disks.some((disk) => disk.id === id));
  if (missing !== undefined) throw new UsageError(`VM ${vm.id} has no disk ${missing}`);
  const wanted = vm.disks.filter(({ id }) => only?.includes(id) ?? true);
  const folder = wanted.find((disk) => only && isSharedFolder(disk));
  if (folder) {
    throw new UnsupportedError(
      `disk ${folder.id} of VM ${vm.id} is a folder that its host shares with it (FILESYSTEM), and cannot be dumped`,
    );
  }
  return wanted
    .filter((disk) => !isSharedFolder(disk))
    .map((disk) => {
      const module = moduleOf(vm, disk);
      const format = declaredFormat(disk, images.get(disk.id)?.format);
      return { module, plan: module.plan(vm, disk, format) };
    });
}

/**
 * Fixes one instant for all planned disks (of one VM), of whatever storages, and makes them ready to be
 * read. A running guest is held meanwhile as `wish` says. Everything this changes is in the run's journal.
 */
export async function snapshotDisks(
  plans: readonly DiskPlan[],
  run: Run,
  wish: FreezeWish = { mode: 'agent', required: false },
): Promise<VmSnapshot> {
  const { snapshots, consistency } = await fixInstant(plans, run, wish);
  return vmSnapshot(plans, { snapshots, consistency }, run);
}

/**
 * The first half of `snapshotDisks`: what it returns another process may open, while the journal is kept.
 * @param limitMs how long the guest waits for all storages together.
 * @throws what failed, when no storage works any more on what it was told to do.
 */
export async function fixInstant(
  plans: readonly DiskPlan[],
  run: Run,
  wish: FreezeWish,
  limitMs = snapshotLimitMs(plans.length),
): Promise<Instant> {
  const parts: Prepared[] = [];
  for (const module of new Set(plans.map((one) => one.module))) {
    const own = plans.filter((one) => one.module === module).map(({ plan }) => plan);
    parts.push(await module.prepare(own, run));
  }
  const instants = parts.map(({ instant }) => instant).filter((one) => one !== 'given');
  const [first] = plans;
  if (!first || instants.length === 0) {
    const at = new Date().toISOString();
    return { snapshots: await fixAll(parts), consistency: { level: 'offline', at, frozenMs: 0 } };
  }
  const { mode, agentWaitMs = 0 } = wish;
  if (mode === 'agent') await awaitBootingAgent(first.plan.vm, agentWaitMs, run);
  const releases: (() => Promise<void>)[] = [];
  try {
    for (const part of parts) {
      const release = await part.claim?.();
      if (release) releases.push(release);
    }
    return await fixWhileHeld(first.plan.vm, limitMs, parts, wish, run);
  } finally {
    for (const release of releases) await release();
  }
}

/** Fixes the instant of disks that a running guest writes to. */
async function fixWhileHeld(
  vm: Vm,
  limitMs: number,
  parts: readonly Prepared[],
  wish: FreezeWish,
  run: Run,
): Promise<Instant> {
  const instants = parts.map(({ instant }) => instant).filter((one) => one !== 'given');
  const hold = await holdGuest(vm, wish, run);
  const at = new Date().toISOString();
  const work = fixAll(parts);
  // The guest does not wait for a storage that takes long: it goes on, and the instant is lost.
  const inTime = await settlesWithin(work, limitMs);
  let held: Held;
  try {
    held = await hold.release();
  } finally {
    // The locks are released and the undo begins only when no storage is still making a snapshot.
    await work.catch(() => undefined);
  }
  const snapshots = await work;
  if (!inTime) {
    throw new FailedError(
      `cannot fix the instant of the disks of VM ${vm.id}: it took longer than ${limitMs / 1000} s, and the guest was let go meanwhile`,
    );
  }
  if (held.level === 'crash' && (instants.length > 1 || instants.includes('apart'))) {
    run.log.warn(
      `the disks of VM ${vm.id} are each of a point in time of its own, since its guest runs on (crash); --fs-freeze suspend (FS_FREEZE) pauses it meanwhile`,
    );
  }
  return { snapshots, consistency: { ...held, at } };
}

/** The second half: disks that can be read. @param plans those whose instant was fixed */
export function vmSnapshot(
  plans: readonly DiskPlan[],
  { snapshots, consistency }: Instant,
  run: Run,
): VmSnapshot {
  return {
    disks: openableDisks(plans, snapshots, run),
    consistency,
    async requireUnwritten() {
      for (const module of new Set(plans.map((one) => one.module))) {
        const ids = plans.filter((one) => one.module === module).map(({ plan }) => plan.disk.id);
        const own = snapshots.filter(({ plan }) => ids.includes(plan.disk.id));
        await module.requireUnwritten?.(own, run);
      }
    },
  };
}

function openableDisks(
  plans: readonly DiskPlan[],
  snapshots: readonly Snapshot[],
  run: Run,
): readonly OpenableDisk[] {
  const disks: OpenableDisk[] = [];
  for (const { module, plan } of plans) {
    const snapshot = snapshots.find((one) => one.plan.disk.id === plan.disk.id);
    if (!snapshot) throw new Error(`no instant was fixed for disk ${plan.disk.id}`);
    const { layout } = snapshot;
    disks.push({ id: plan.disk.id, layout, open: () => module.open(snapshot, run) });
  }
  return disks.sort((one, other) => one.id - other.id);
}

async function fixAll(parts: readonly Prepared[]): Promise<readonly Snapshot[]> {
  const snapshots: Snapshot[] = [];
  for (const prepared of parts) snapshots.push(...(await prepared.snapshot()));
  return snapshots;
}

/** Whether `work` ends, well or not, in that time. Never rejects. */
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

/** A volatile disk follows the system datastore, every other one its own TM_MAD. */
function moduleOf(vm: Vm, disk: Disk): StorageModule {
  const system = known(vm.tmMadSystem) ?? known(vm.history?.tmMad);
  const tmMad = isVolatile(disk) ? system : (known(disk.tmMad) ?? system);
  if (tmMad === undefined) {
    throw new UnsupportedError(
      `VM ${vm.id} does not say on which storage disk ${disk.id} lies (it has no TM_MAD); was it ever deployed?`,
    );
  }
  const module = isExportedFromCeph(disk, tmMad) ? fileStorage : modules.get(tmMad);
  if (module) return module;
  throw new UnsupportedError(
    `disk ${disk.id} of VM ${vm.id} lies on a storage that cannot be dumped: TM_MAD ${tmMad} (supported: ${[...modules.keys()].join(', ')})`,
  );
}

/**
 * An image of a Ceph datastore that was copied into a file on a system datastore of TM ssh. oned notes that
 * in DISK_TYPE (DISK_TYPE_SSH of the driver in oned.conf), while TM_MAD stays ceph and TYPE may stay RBD.
 */
function isExportedFromCeph(disk: Disk, tmMad: string): boolean {
  return tmMad === 'ceph' && !isVolatile(disk) && disk.diskType === 'FILE';
}

/** An empty element says nothing. */
function known(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
