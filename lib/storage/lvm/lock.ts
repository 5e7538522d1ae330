// Takes the locks that OpenNebula's drivers take when they change a volume group. LVM's own lock only works within
// one machine, and two machines that change the metadata of a shared group at the same time destroy it.
import {
  driverLockSeconds,
  LockHeldError,
  takeDriverLock,
  type DriverLock,
} from '../../tools/driver-lock.ts';
import { FailedError } from '../../report/errors.ts';
import { isFrontEnd, onedConfiguration } from '../../tools/front-end.ts';
import type { Lvm, VolumeName } from '../../tools/lvm.ts';
import { frontEndLock, hostLock } from './names.ts';
import type { GroupSettings } from './settings.ts';

/**
 * How long to wait for the host's lock while we hold the front-end's, for which OpenNebula's drivers may be waiting.
 */
const secondLockSeconds = 5;

export interface GroupChange {
  readonly group: string;
  /** For the error: what the group is changed for. */
  readonly doing: string;
  /** For the error: how the same can be had without a change of the group, if it can. */
  readonly instead?: string | undefined;
}

/**
 * Checks that an export may change the group: if others may see it, we must be able to take the lock of OpenNebula's
 * drivers, which is on the front-end. An undo does not ask: what is left behind would be worse.
 * @throws FailedError that says what to do
 */
export async function requireLockable(
  { here }: Lvm,
  { shared }: GroupSettings,
  { group, doing, instead }: GroupChange,
): Promise<void> {
  if (!shared || (await isFrontEnd(here))) return;
  const also = instead === undefined ? '' : `, or ${instead}`;
  throw new FailedError(
    `cannot ${doing}: other machines may see the volume group ${group}, and only on OpenNebula's front-end can we keep them from changing it at the same time, which could destroy it; ${here.where} is not the front-end, as there is no ${onedConfiguration()}, or this user may not see it. Export the VM on the front-end with --remote-host auto (or a host that sees the group), or let oned back it up${also}; or, if no other machine sees the group, set LVM_SHARED = no`,
  );
}

/**
 * Takes both locks: the front-end's, if this machine is one, and that of the machine where LVM is run (7.4). With TM
 * lvm they have the same name, and are one lock if both machines are the same. Never holds one for long while it waits
 * for the other.
 * @param volume OpenNebula's volume of a disk in the group
 * @throws FailedError when one is not free in time
 */
async function lockGroup(
  { runner, here }: Lvm,
  volume: VolumeName,
  doing: string,
  signal?: AbortSignal,
): Promise<DriverLock> {
  const names = [frontEndLock(volume), hostLock(volume.group)] as const;
  if (runner.target === here.target && names[0] === names[1]) {
    return await takeDriverLock(here, names[0], { doing, signal });
  }
  for (let tries = driverLockSeconds / secondLockSeconds; ; tries--) {
    const first = await takeDriverLock(here, names[0], { doing, signal });
    try {
      const options = { doing, signal, waitSeconds: secondLockSeconds };
      const second = await takeDriverLock(runner, names[1], options);
      return {
        async release() {
          await second.release();
          await first.release();
        },
      };
    } catch (error) {
      await first.release();
      if (!(error instanceof LockHeldError) || tries <= 1) throw error;
    }
  }
}

/**
 * The locks of several groups.
 * @param volumes one in each group, always in the same order, so that two runs do not wait for each other
 */
export async function lockGroups(
  lvm: Lvm,
  volumes: readonly VolumeName[],
  doing: string,
  signal?: AbortSignal,
): Promise<DriverLock> {
  const locks: DriverLock[] = [];
  const releaseAll = async (): Promise<void> => {
    for (const lock of locks.reverse()) await lock.release();
  };
  try {
    for (const volume of volumes) locks.push(await lockGroup(lvm, volume, doing, signal));
  } catch (error) {
    await releaseAll();
    throw error;
  }
  let released: Promise<void> | undefined;
  return { release: () => (released ??= releaseAll()) };
}

/**
 * Runs `work` while nobody else changes the group.
 * @param volume OpenNebula's volume of a disk in the group
 * @throws what `work` throws; FailedError
 */
export async function whileLocked<T>(
  lvm: Lvm,
  volume: VolumeName,
  doing: string,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await lockGroup(lvm, volume, doing);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
