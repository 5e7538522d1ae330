// Who changes a volume group takes the locks that OpenNebula's drivers take: LVM's own lock knows only of one machine, and
// two that change the metadata of a shared group at once destroy it.
import { takeDriverLock, type DriverLock } from '../tools/driver-lock.ts';
import type { Lvm } from '../tools/lvm.ts';
import { frontEndLock, hostLock } from '../vm/names.ts';

/**
 * Takes both: that of the front-end, if this machine is one, and that of the machine where LVM is run (7.4).
 * @param group of a system datastore
 * @throws FailedError when one is not free in time
 */
export async function lockGroup(
  { runner, here }: Lvm,
  group: string,
  doing: string,
  signal?: AbortSignal,
): Promise<DriverLock> {
  const first = await takeDriverLock(here, frontEndLock(group), { doing, signal });
  try {
    const second = await takeDriverLock(runner, hostLock(group), { doing, signal });
    return {
      async release() {
        await second.release();
        await first.release();
      },
    };
  } catch (error) {
    await first.release();
    throw error;
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
