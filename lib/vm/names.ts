// Every name that OpenNebula or this tool gives to something on a storage. DO NOT CHANGE: other
// runs, `cleanup` and OpenNebula itself find things by these names. The names of bundles: lib/bundle/format/bundle-name.ts.
import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { ownPrefix } from '../run/own-prefix.ts';

/** The VM's folder on its system datastore. */
export function vmFolder(datastoreLocation: string, datastoreId: number, vmId: number): string {
  return posix.join(datastoreLocation, String(datastoreId), String(vmId));
}

/** A disk file in the VM's folder (a link for TM qcow2 and for persistent images). */
export function diskFile(folder: string, diskId: number): string {
  return posix.join(folder, `disk.${diskId}`);
}

/** Where OpenNebula has libvirt keep the UEFI variables of a VM (LibVirtDriverKVM.cc, 6.4 to 7.4). */
export function nvramFile(folder: string, vmName: string): string {
  return posix.join(folder, `${vmName}_VARS.fd`);
}

/** The folder in which OpenNebula keeps the state of a vTPM while the VM is off (vtpm_setup, 7.2 on). */
export function tpmFolder(folder: string): string {
  return posix.join(folder, 'tpm');
}

/** Where one run has the state of a running VM's vTPM copied. */
export function stateFolderOf(folder: string, runId: string): string {
  return posix.join(folder, `${ownPrefix}${runId}.state`);
}

/** A disk's member in a bundle. */
export function diskMember(diskId: number): string {
  return `./backup.disk.${diskId}`;
}

/**
 * A file under which `file` is written until it is whole, of one run alone: its undo never finds another's. It lies
 * in the same folder.
 */
export function partName(file: string): string {
  return `${file}.${randomBytes(8).toString('hex')}.part`;
}

/** Whether this name in a folder is one that `partName` gave for the file with this name there. */
export function isPartOf(name: string, file: string): boolean {
  return name.startsWith(`${file}.`) && /^[0-9a-f]{16}\.part$/.test(name.slice(file.length + 1));
}

/** The volume group of a system datastore of TM fs_lvm or fs_lvm_ssh. */
export function volumeGroup(datastoreId: number): string {
  return `vg-one-${datastoreId}`;
}

/**
 * The lock file of a volume group on the front-end: of tm_mad/fs_lvm and fs_lvm_ssh (clone, mv, delete, ...), 6.4 to 7.4. It is named
 * after the system datastore.
 */
export function frontEndLock(group: string): string {
  return `tm-fs_lvm-${group.replace(/^vg-one-/, '')}.lock`;
}

/** The lock file of a volume group on the host where LVM is run: of backups with fs_lvm_ssh, 7.4 (datastore_mad/remotes/lvm.rb). */
export function hostLock(group: string): string {
  return `tm-onelvm-${group}.lock`;
}

/** The logical volume of a disk in it. */
export function diskVolume(vmId: number, diskId: number): string {
  return `lv-one-${vmId}-${diskId}`;
}

/** The snapshot that one run makes of a disk's logical volume. */
export function volumeSnapshot(runId: string, diskId: number): string {
  return `${ownPrefix}${runId}-${diskId}`;
}

/** The RBD image of a volatile disk; where no pool is named, it lies in the pool OpenNebula has by default. */
export function volatileRbdImage(pool: string | undefined, vmId: number, diskId: number): string {
  return `${pool ?? 'one'}/one-sys-${vmId}-${diskId}`;
}

/** The RBD image that OpenNebula clones from an image (its SOURCE) for a VM's disk. */
export function clonedRbdImage(source: string, vmId: number, diskId: number): string {
  return `${source}-${vmId}-${diskId}`;
}

/** The snapshot that one run makes of each of a VM's RBD images. */
export function rbdSnapshot(runId: string): string {
  return `${ownPrefix}${runId}`;
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

/** What that process leaves when it has let the guest go. */
export function guardMark(guard: string): string {
  return `/tmp/${guard}`;
}
