// Every name that OpenNebula or this tool gives to something on a storage. DO NOT CHANGE: other
// runs, `cleanup` and OpenNebula itself find things by these names.
import { posix } from 'node:path';

/** The prefix of everything this tool makes. */
export const ownPrefix = 'onevmdump-';

/** The VM's folder on its system datastore. */
export function vmFolder(datastoreLocation: string, datastoreId: number, vmId: number): string {
  return posix.join(datastoreLocation, String(datastoreId), String(vmId));
}

/** A disk file in the VM's folder (a link for TM qcow2 and for persistent images). */
export function diskFile(folder: string, diskId: number): string {
  return posix.join(folder, `disk.${diskId}`);
}

/** A disk's member in a bundle. */
export function diskMember(diskId: number): string {
  return `./backup.disk.${diskId}`;
}

/** The file name of a bundle; `epoch` in seconds. */
export function bundleName(vmId: number, epoch: number, extension: string): string {
  return `${ownPrefix}${vmId}-${epoch}.${extension}`;
}

/** The id of the VM in the name that `bundleName` made; undefined for any other name. */
export function backupVmId(name: string): number | undefined {
  const id = /^onevmdump-(\d{1,9})-\d{1,12}\.tar(?:\.gz|\.zst)?$/.exec(name)?.[1];
  return id === undefined ? undefined : Number(id);
}

/** An unfinished bundle. */
export function partName(bundle: string): string {
  return `${bundle}.part`;
}

/** The socket on which QEMU serves a running VM's disks to one run. */
export function backupSocket(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.sock`);
}

/** What libvirt is to do for that. */
export function backupOrder(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.xml`);
}

/** Where QEMU keeps what the guest overwrites of a disk while one run reads it. */
export function scratchFile(folder: string, runId: string, diskId: number): string {
  return posix.join(folder, `${ownPrefix}${runId}.scratch.${diskId}`);
}

/** The word in the command line of the process that lets a guest go on when a run cannot. */
export function guardName(runId: string): string {
  return `${ownPrefix}guard-${runId}`;
}
