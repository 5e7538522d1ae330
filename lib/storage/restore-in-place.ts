// What OpenNebula's own `restore` of each TM driver does with a disk that it has fetched from a backup. Sources:
// tm_mad/<TM>/restore of OpenNebula 6.6 to 7.4.

/** These move the disk into its place, whatever is in it: a raw disk is to come as it is. */
const movesUnread: readonly string[] = ['ssh', 'local', 'shared', 'qcow2'];

/**
 * Whether a TM driver's `restore` takes a raw disk for raw. Others (ceph, fs_lvm_ssh from 7.0 on, lvm) run
 * `qemu-img convert` without a format: a guest that has written the header of a qcow2 image into its raw disk would get
 * what that header names, such as a file of the host. They must get raw disks wrapped, and so must what nobody knows.
 */
export function takesRawAsIs(tmMad: string | undefined): boolean {
  return tmMad !== undefined && movesUnread.includes(tmMad);
}

/** These unpack what `ls` calls `tpm` into the VM's folder (7.2 on). To lvm, as to all of OpenNebula before that, it is a disk. */
const knowsTpm: readonly string[] = ['ssh', 'local', 'shared', 'qcow2', 'ceph', 'fs_lvm_ssh'];

/** Whether a TM driver's `restore` puts back the state of a vTPM, given that OpenNebula makes VMs with one. */
export function takesTpm(tmMad: string | undefined): boolean {
  return tmMad !== undefined && knowsTpm.includes(tmMad);
}
