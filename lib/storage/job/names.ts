// The names of the files of a backup job, and of the process that watches them. DO NOT CHANGE: other runs and `cleanup`
// find them by these names.
import { posix } from 'node:path';
import { ownPrefix } from '../../run/own-prefix.ts';

/** The socket on which QEMU serves a running VM's disks to one run. */
export function jobSocket(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.sock`);
}

/** The XML file with which libvirt begins the backup job. */
export function jobDescription(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.xml`);
}

/** The file in which QEMU keeps what the guest overwrites of a disk while one run reads it. */
export function scratchFile(folder: string, runId: string, diskId: number): string {
  return posix.join(folder, `${ownPrefix}${runId}.scratch.${diskId}`);
}

/** A word in the command line of the process that watches the free space for the scratch files. */
export function spaceWatchName(runId: string): string {
  return `${ownPrefix}space-${runId}`;
}
