// The names of logical volumes and of the locks of their groups. DO NOT CHANGE: other runs, `cleanup` and OpenNebula
// itself find them by these names.
import { ownPrefix } from '../../run/own-prefix.ts';

/** The volume group of a system datastore of TM fs_lvm or fs_lvm_ssh. */
export function volumeGroup(datastoreId: number): string {
  return `vg-one-${datastoreId}`;
}

/**
 * The lock file of a volume group on the front-end, as in tm_mad/fs_lvm and fs_lvm_ssh (clone, mv, delete, ...), 6.4
 * to 7.4. It is named after the system datastore.
 */
export function frontEndLock(group: string): string {
  return `tm-fs_lvm-${group.replace(/^vg-one-/, '')}.lock`;
}

/**
 * The lock file of a volume group on the host where LVM is run, as in backups with fs_lvm_ssh, 7.4
 * (datastore_mad/remotes/lvm.rb).
 */
export function hostLock(group: string): string {
  return `tm-onelvm-${group}.lock`;
}

/** The logical volume of a disk, in the group of its system datastore. */
export function diskVolume(vmId: number, diskId: number): string {
  return `lv-one-${vmId}-${diskId}`;
}

/** The snapshot that one run makes of a disk's logical volume. */
export function volumeSnapshot(runId: string, diskId: number): string {
  return `${ownPrefix}${runId}-${diskId}`;
}
