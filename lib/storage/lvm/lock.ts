// Who changes a volume group takes the locks that OpenNebula's drivers take: LVM's own lock knows only of one machine, and
// two that change the metadata of a shared group at once destroy it.
import {
  driverLockSeconds,
  LockHeldError,
  takeDriverLock,
  type DriverLock,
} from '../../tools/driver-lock.ts';
import type { Lvm } from '../../tools/lvm.ts';
import { frontEndLock, hostLock } from './names.ts';

/** For the host's lock with the front-end's held, for which OpenNebula's drivers wait meanwhile. */
const secondLockSeconds = 5;

/**
 * Takes both: that of the front-end, if this machine is one, and that of the machine where LVM is run (7.4). Waits for
 * each without keeping the other for long.
 * @param group of a system datastore
 * @throws FailedError when one is not free in time
 */
export async function lockGroup(
  { runner, here }: Lvm,
  group: string,
  doing: string,
  signal?: AbortSignal,
): Promise<DriverLock> {
  for (let tries = driverLockSeconds / secondLockSeconds; ; tries--) {
    const first = await takeDriverLock(here, frontEndLock(group), { doing, signal });
    try {
      const options = { doing, signal, waitSeconds: secondLockSeconds };
      const second = await takeDriverLock(runner, hostLock(group), options);
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

/** Does `work` while nobody else changes the group. @throws what `work` throws; FailedError */
export async function whileLocked<T>(
  lvm: Lvm,
  group: string,
  doing: string,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await lockGroup(lvm, group, doing);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
