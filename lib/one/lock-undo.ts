// Puts the VM lock back as it was before the run that locked the VM.
import { FailedError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { object, optional } from '../run/json-object.ts';
import { count, made, text, type Infer } from '../run/json-shape.ts';
import { undoKind } from '../run/undo.ts';
import type { VmLock } from '../vm/vm.ts';
import { noSuchObject } from './answers.ts';
import type { OneClient } from './client.ts';
import { getVm } from './vms.ts';

/** The strongest VM lock, as oned stores it. */
export const lockedAll = 1;
/**
 * How far apart, in seconds, the clocks of oned and of this machine may be, including the time that one.vm.lock
 * takes. Only needed for a run that was killed after it locked the VM and before it recorded which lock is its own.
 */
const clockTolerance = 600;

const number = made('a number', (value) => (typeof value === 'number' ? value : undefined));
const lockShape = object({ level: number, owner: number, time: number, requestId: number });
const lockBefore = object({
  endpoint: text,
  vmId: count(),
  /** Null: the VM was not locked. */
  before: (value, place): VmLock | null => (value === null ? null : lockShape(value, place)),
  /** Epoch seconds, just before the VM was locked. */
  since: number,
  /** The lock of this run; missing until it is known. */
  own: optional(lockShape),
});
export type LockBefore = Infer<typeof lockBefore>;

export interface LockDeps {
  readonly log: Log;
  /** Returns a client for an endpoint. */
  readonly connect: (endpoint: string) => Promise<OneClient>;
}

/** Puts the VM lock back as it was `before`, if the VM still has the lock of this run. */
export const restoreLock = undoKind({
  kind: 'restore-lock',
  fields: lockBefore,
  describe: ({ vmId, before }) =>
    before === null
      ? `VM ${vmId} is left locked; unlock it with: onevm unlock ${vmId}`
      : `VM ${vmId} is left locked by another level than before; put it back with: onevm lock ${vmId} ${lockOption(before.level)}`,
  carryOut: async (data, { connect, log }: LockDeps) =>
    putLockBack(await connect(data.endpoint), data, log),
  whenMachineIsGone: 'anywhere',
  unlocks: ({ vmId }) => vmId,
});

function lockOption(level: number): string {
  return { 1: '--use', 2: '--manage', 3: '--admin' }[level] ?? '--all';
}

/** Locks a VM, and replaces the lock that it has. @param level 1 USE, 2 MANAGE, 3 ADMIN, 4 ALL */
export async function lockVm(client: OneClient, vmId: number, level: number): Promise<void> {
  await client.call('one.vm.lock', vmId, level, false);
}

/** Unlocks a VM. An unlocked VM stays unlocked. */
export async function unlockVm(client: OneClient, vmId: number): Promise<void> {
  await client.call('one.vm.unlock', vmId);
}

/**
 * For an undo: puts the VM lock back as it was, if the VM still has the lock of the run that recorded it. A lock that
 * somebody has set or removed since is not touched.
 * @throws FailedError when it is unknown who made the VM's lock; OpenNebulaError
 */
export async function putLockBack(
  client: OneClient,
  { vmId, before, own, since }: LockBefore,
  log: Log,
): Promise<void> {
  const lock = await currentLock(client, vmId);
  if (!lock) {
    if (before) log.info(`VM ${vmId} was unlocked by somebody else and stays so`);
    return;
  }
  // It was never replaced, or was already put back.
  if (before && isSame(lock, before)) return;
  if (own ? !isSame(lock, own) : lock.level !== lockedAll) {
    log.info(`VM ${vmId} was locked by somebody else meanwhile, and stays so`);
    return;
  }
  if (!own && Math.abs(lock.time - since) > clockTolerance) {
    throw new FailedError(
      `VM ${vmId} has a lock of which is not known whether it is the one of a killed export`,
    );
  }
  await (before ? lockVm(client, vmId, before.level) : unlockVm(client, vmId));
}

/** A VM that is gone has no lock. */
async function currentLock(client: OneClient, vmId: number): Promise<VmLock | undefined> {
  try {
    return (await getVm(client, vmId)).lock;
  } catch (error) {
    if (noSuchObject(error)) return undefined;
    throw error;
  }
}

function isSame(lock: VmLock, other: VmLock): boolean {
  return (
    lock.level === other.level &&
    lock.owner === other.owner &&
    lock.time === other.time &&
    lock.requestId === other.requestId
  );
}
