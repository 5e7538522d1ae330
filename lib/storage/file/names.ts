// The names of files in the VM's folder. DO NOT CHANGE: other runs, `cleanup` and OpenNebula itself find
// them by these names.
import { posix } from 'node:path';
import { ownPrefix } from '../../run/own-prefix.ts';

/** A disk file in the VM's folder (a link for TM qcow2 and for persistent images). */
export function diskFile(folder: string, diskId: number): string {
  return posix.join(folder, `disk.${diskId}`);
}

/** The socket on which QEMU serves a running VM's disks to one run. */
export function backupSocket(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.sock`);
}

/** The XML file with which libvirt begins the backup job. */
export function backupOrder(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.xml`);
}

/** The file in which QEMU keeps what the guest overwrites of a disk while one run reads it. */
export function scratchFile(folder: string, runId: string, diskId: number): string {
  return posix.join(folder, `${ownPrefix}${runId}.scratch.${diskId}`);
}
