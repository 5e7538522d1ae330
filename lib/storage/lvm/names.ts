// The names of logical volumes and of the locks of their groups. DO NOT CHANGE: other runs, `cleanup` and OpenNebula
// itself find them by these names.
import { UnsupportedError } from '../../report/errors.ts';
import { ownPrefix } from '../../run/own-prefix.ts';
import type { VolumeName } from '../../tools/lvm.ts';
import { tmMadOf } from '../../vm/tm-mad.ts';
import { isVolatile, type Disk, type Vm } from '../../vm/vm.ts';
import { childrenOf, childText } from '../../xml/xml.ts';

/** The volume group of a datastore: with TM fs_lvm and fs_lvm_ssh a system datastore, with TM lvm an image datastore. */
function volumeGroup(datastoreId: number): string {
  return `vg-one-${datastoreId}`;
}

/**
 * The lock file of a volume group on the front-end. TM fs_lvm and fs_lvm_ssh name it after the system datastore
 * (tm_mad/fs_lvm: clone, mv, delete, ..., 6.4 to 7.4), TM lvm after the group (`with_lvm_lock` in
 * datastore_mad/remotes/lvm.rb, 7.4), as `hostLock` does. The name of a disk's volume shows whose group it is.
 */
export function frontEndLock({ group, name }: VolumeName): string {
  if (!name.startsWith('lv-one-')) return hostLock(group);
  return `tm-fs_lvm-${group.replace(/^vg-one-/, '')}.lock`;
}

/**
 * The lock file of a volume group on the host where LVM is run, as in backups with fs_lvm, fs_lvm_ssh and lvm, 7.4
 * (`with_lvm_lock_sh` in datastore_mad/remotes/lvm.rb).
 */
export function hostLock(group: string): string {
  return `tm-onelvm-${group}.lock`;
}

/**
 * The volume of a disk. Neither kind asks the XML whether it is thin: LVM says that.
 *
 * TM fs_lvm, fs_lvm_ssh (tm_mad/fs_lvm*: clone, mkimage, 6.4 to 7.4): `lv-one-<VM>-<DISK_ID>` in the group of the system
 * datastore, whatever the disk is.
 *
 * TM lvm (datastore_mad/remotes/lvm.rb, 7.4): an image that is not copied for the VM (CLONE = NO: persistent,
 * immutable, CD-ROM) is the volume `img-one-<IMAGE_ID>` in the group of its own datastore (tm_mad/lvm/ln); every other
 * disk is `vm-one-<VM>-<DISK_ID>` (tm_mad/lvm/clone, mkimage). A clone is in the group of its image, since it is a
 * snapshot of it. A volatile disk is in the group of the first DISK of TM lvm in the VM's template (LVMVM), because its
 * own DATASTORE_ID is that of the system datastore.
 * @throws UnsupportedError when the VM does not say where it is
 */
export function diskVolume(vm: Vm, disk: Disk): VolumeName {
  const own = `one-${vm.id}-${disk.id}`;
  if (tmMadOf(vm, disk) !== 'lvm') {
    if (vm.history) return { group: volumeGroup(vm.history.datastoreId), name: `lv-${own}` };
    throw new UnsupportedError(`VM ${vm.id} was never deployed: it has no disks to dump`);
  }
  const group = (datastoreId: number | undefined): string => {
    if (datastoreId !== undefined) return volumeGroup(datastoreId);
    throw new UnsupportedError(
      `disk ${disk.id} of VM ${vm.id} does not say in which datastore it is, so its volume group is not known`,
    );
  };
  if (isVolatile(disk)) return { group: group(firstLvmDatastore(vm)), name: `vm-${own}` };
  if (disk.clone) return { group: group(disk.datastoreId), name: `vm-${own}` };
  if (disk.imageId === undefined) {
    throw new UnsupportedError(`disk ${disk.id} of VM ${vm.id} has no IMAGE_ID`);
  }
  return { group: group(disk.datastoreId), name: `img-one-${disk.imageId}` };
}

/** In the order of the document, which need not be that of the DISK_IDs. */
function firstLvmDatastore(vm: Vm): number | undefined {
  const first = childrenOf(vm.template, 'DISK').find((xml) => childText(xml, 'TM_MAD') === 'lvm');
  return vm.disks.find(({ xml }) => xml === first)?.datastoreId;
}

/**
 * Whether other VMs may use the volume of a disk as well: with TM lvm, that of an image that is not copied for the VM
 * and is not for one VM only. The XML does not say whether a CD-ROM is persistent.
 */
export function isSharedVolume(vm: Vm, disk: Disk): boolean {
  const isImage = tmMadOf(vm, disk) === 'lvm' && !isVolatile(disk) && !disk.clone;
  return isImage && (!disk.persistent || disk.shareable);
}

/** The snapshot that one run makes of a disk's logical volume. */
export function volumeSnapshot(runId: string, diskId: number): string {
  return `${ownPrefix}${runId}-${diskId}`;
}
