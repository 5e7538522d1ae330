// The names of files that several parts share, of OpenNebula and of this tool. DO NOT CHANGE: other runs, `cleanup` and
// OpenNebula itself find things by these names. Each storage has its own in its folder; those of bundles are in
// lib/bundle/format/bundle-name.ts.
import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { ownPrefix } from '../run/own-prefix.ts';

/** The VM's folder on its system datastore. */
export function vmFolder(datastoreLocation: string, datastoreId: number, vmId: number): string {
  return posix.join(datastoreLocation, String(datastoreId), String(vmId));
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

/** Bytes that a name in a folder may have on Linux, less what `partName` adds. */
export const longestFileName = 255 - '.0123456789abcdef.part'.length;

/** Whether this name in a folder is one that `partName` gave for the file with this name there. */
export function isPartOf(name: string, file: string): boolean {
  return name.startsWith(`${file}.`) && /^[0-9a-f]{16}\.part$/.test(name.slice(file.length + 1));
}
