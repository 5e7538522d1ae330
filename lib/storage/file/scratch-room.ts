// Checks that there is room for scratch files, in which QEMU keeps what a guest overwrites while its disks are read.
// If their file system fills up, the guest and all others on it get write errors.
import { FailedError } from '../../report/errors.ts';
import { formatBytes } from '../../report/format.ts';
import type { Run } from '../../run/run.ts';
import { freeBytes } from '../../tools/file-facts.ts';
import type { Vm } from '../../vm/vm.ts';
import { fileSettings, type FileSettings } from './settings.ts';

const MiB = 1024 * 1024;

/**
 * Returns how many bytes must be free: a part of the disks, at least a minimum, but never more than the guest can
 * overwrite.
 * @param sizes of the disks, in bytes.
 */
export function neededRoom(
  sizes: readonly number[],
  { scratchPercent, scratchMinMb }: Pick<FileSettings, 'scratchPercent' | 'scratchMinMb'>,
): number {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return Math.min(total, Math.max(Math.ceil((total * scratchPercent) / 100), scratchMinMb * MiB));
}

/**
 * Checks that the file system of a folder has the room. Called before the guest is frozen or paused.
 * @throws FailedError with the numbers and the settings.
 */
export async function requireScratchRoom(
  vm: Vm,
  folder: string,
  sizes: readonly number[],
  { runner, settings }: Run,
): Promise<void> {
  const wanted = settings(fileSettings);
  const needed = neededRoom(sizes, wanted);
  const free = await freeBytes(runner, folder);
  if (free >= needed) return;
  throw new FailedError(
    `the file system of ${folder} has ${formatBytes(free)} free, but ${formatBytes(needed)} are needed for what the guest of VM ${vm.id} overwrites while its disks are read; see SCRATCH_PERCENT (now ${wanted.scratchPercent}) and SCRATCH_MIN_MB (now ${wanted.scratchMinMb})`,
    { code: 'no-space', facts: { vmId: vm.id, folder, freeBytes: free, neededBytes: needed } },
  );
}
