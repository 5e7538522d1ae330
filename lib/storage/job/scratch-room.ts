// Finds out whether there is room for scratch files, in which QEMU keeps what a guest overwrites while its disks are
// read. If their file system filled up, the guest and all others on it would get write errors.
import { FailedError } from '../../report/errors.ts';
import { formatBytes } from '../../report/format.ts';
import type { Run } from '../../run/run.ts';
import { freeBytes } from '../../tools/file-facts.ts';
import type { Vm } from '../../vm/vm.ts';
import { jobSettings, type JobSettings } from './settings.ts';

const MiB = 1024 * 1024;

/** The place of the scratch files. */
export interface ScratchRoom {
  readonly folder: string;
  readonly freeBytes: number;
  /** All disks together: the most that a guest can overwrite. */
  readonly diskBytes: number;
}

/**
 * Returns how many bytes must be free: a part of the disks, at least a minimum, but never more than the guest can
 * overwrite.
 * @param diskBytes of all disks together
 */
export function neededRoom(
  diskBytes: number,
  { scratchPercent, scratchMinMb }: JobSettings,
): number {
  const part = Math.ceil((diskBytes * scratchPercent) / 100);
  return Math.min(diskBytes, Math.max(part, scratchMinMb * MiB));
}

export interface RoomRequest {
  readonly folder: string;
  /** Of the disks, in bytes. */
  readonly sizes: readonly number[];
  /**
   * Whether there must be room for all that a guest can overwrite, since QEMU would report to it that there was none: by
   * an `error_policy` of one of its disks.
   */
  readonly mustHoldAll: boolean;
}

/**
 * Looks at the file system of a folder. Called before the guest is frozen or paused.
 * @throws FailedError with the numbers and the settings when there is too little room, or when the folder cannot be
 *   written to; CommandError when it cannot be looked at
 */
export async function findScratchRoom(
  vm: Vm,
  { folder, sizes, mustHoldAll }: RoomRequest,
  { runner, settings }: Run,
): Promise<ScratchRoom> {
  const wanted = settings(jobSettings);
  const diskBytes = sizes.reduce((sum, size) => sum + size, 0);
  const needed = mustHoldAll ? diskBytes : neededRoom(diskBytes, wanted);
  const free = await freeBytes(runner, folder);
  const isWritable = { program: 'test', args: ['-w', folder] };
  const doing = `look at ${folder}`;
  if ((await runner.run(isWritable, { doing, acceptStatus: [1] })).status !== 0) {
    throw new FailedError(
      `this user may not write to ${folder} on ${runner.where}, where QEMU's scratch files for VM ${vm.id} have to lie; it belongs to oneadmin on OpenNebula's hosts`,
    );
  }
  if (free >= needed) return { folder, freeBytes: free, diskBytes };
  throw new FailedError(
    `the file system of ${folder} has ${formatBytes(free)} free, but ${formatBytes(needed)} are needed for what the guest of VM ${vm.id} overwrites while its disks are read; ${mustHoldAll ? 'that is all of its disks, since one has an error_policy with which QEMU would not stop the guest; ' : ''}see SCRATCH_PERCENT (now ${wanted.scratchPercent}) and SCRATCH_MIN_MB (now ${wanted.scratchMinMb})`,
    { code: 'no-space', facts: { vmId: vm.id, folder, freeBytes: free, neededBytes: needed } },
  );
}
