// Takes the locks that OpenNebula's drivers take when they change a volume group. LVM's own lock only works within
// one machine, and two machines that change the metadata of a shared group at the same time destroy it.
import {
  driverLockSeconds,
  LockHeldError,
  takeDriverLock,
  type DriverLock,
} from '../../tools/driver-lock.ts';
import type { Lvm } from '../../tools/lvm.ts';
import { frontEndLock, hostLock } from './names.ts';

/**
 * How long to wait for the host's lock while we hold the front-end's, for which OpenNebula's drivers may be waiting.
 */
const secondLockSeconds = 5;

/**
 * Takes both locks: the front-end's, if this machine is one, and that of the machine where LVM is run (7.4). Never
 * holds one for long while it waits for the other.
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

/** Runs `work` while nobody else changes the group. @throws what `work` throws; FailedError */
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
