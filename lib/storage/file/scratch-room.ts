// The room for scratch files: QEMU keeps there what a guest overwrites of its disks while they are read. A file system
// that gets full gives the guest, and all others on it, write errors.
import { FailedError } from '../../report/errors.ts';
import { formatBytes } from '../../report/format.ts';
import type { Run } from '../../run/run.ts';
import { freeBytes } from '../../tools/file-facts.ts';
import type { Vm } from '../../vm/vm.ts';
import { fileSettings, type FileSettings } from './settings.ts';

const MiB = 1024 * 1024;

/**
 * Bytes that must be free: a part of the disks, not less than a floor, and never more than the guest can overwrite.
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
 * Requires that the file system of a folder has the room. Called before the guest is frozen.
 * @throws FailedError with the figures and the settings.
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
