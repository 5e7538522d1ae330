// A virtual machine as OpenNebula describes it, with OpenNebula's names, validated: ids are numbers, lists are arrays. Parsed
// by lib/vm/vm-xml.ts. Sources: <VM> as oned returns it (one.vm.info), as a hook gets it, and as a driver action gets it.
import type { XmlElement } from '../xml/xml.ts';

/** One DISK of the VM's TEMPLATE. CONTEXT is not a DISK. */
export interface Disk {
  /** DISK_ID. */
  readonly id: number;
  /** TYPE in capitals: FILE, BLOCK, RBD, CDROM, RBD_CDROM, FILESYSTEM, FS, SWAP; from 6.x volatile disks are `fs`, `swap`. */
  readonly type: string;
  /** FORMAT and DRIVER as declared; lib/storage/disk-format.ts decides the format from them, never from the disk's bytes. */
  readonly format: string | undefined;
  readonly driver: string | undefined;
  /** The disk's own TM_MAD; undefined when it has none, and the TM_MAD of the history applies. */
  readonly tmMad: string | undefined;
  readonly source: string | undefined;
  readonly imageId: number | undefined;
  readonly image: string | undefined;
  readonly imageUname: string | undefined;
  /** For a volatile disk the system datastore. */
  readonly datastoreId: number | undefined;
  /** SIZE in MiB. */
  readonly sizeMb: number | undefined;
  /** ORIGINAL_SIZE in MiB: the size of the image, from which the disk may have been enlarged. */
  readonly originalSizeMb: number | undefined;
  /** The device in the guest, such as vda. */
  readonly target: string | undefined;
  readonly devPrefix: string | undefined;
  readonly persistent: boolean;
  readonly readonly: boolean;
  /** CLONE: the disk is a copy of its image; else it is the image itself. */
  readonly clone: boolean;
  /** SHAREABLE: several VMs may use the persistent image at the same time. */
  readonly shareable: boolean;
  /** DISK_TYPE in capitals: how the storage holds the disk (FILE, BLOCK, RBD), also when TYPE is fs or swap. */
  readonly diskType: string | undefined;
  readonly cephUser: string | undefined;
  readonly cephKey: string | undefined;
  readonly cephConf: string | undefined;
  readonly poolName: string | undefined;
  /** The whole element, from which a restored template is made. */
  readonly xml: XmlElement;
}

/** One HISTORY record. */
export interface History {
  readonly seq: number;
  /** STIME: when this record began, in epoch seconds. */
  readonly stime: number | undefined;
  readonly hostname: string;
  /** VM_MAD: the virtualization driver of the host. */
  readonly vmMad?: string | undefined;
  readonly tmMad: string;
  /** DS_ID: the system datastore. */
  readonly datastoreId: number;
  /**
   * Whether OpenNebula's monitoring ended the record before, which is of the same host: it took the VM for suspended or
   * powered off, and has found since that it runs.
   */
  readonly foundAgain?: boolean;
}

/** LOCK. Locking a locked VM replaces it, with another OWNER, TIME (epoch seconds) or REQ_ID. */
export interface VmLock {
  /** LOCKED as oned stores it: 1 USE (also for ALL), 2 MANAGE, 3 ADMIN. */
  readonly level: number;
  readonly owner: number;
  readonly time: number;
  readonly requestId: number;
}

export interface Vm {
  readonly id: number;
  readonly name: string;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly uname: string | undefined;
  readonly gname: string | undefined;
  /** STATE and LCM_STATE; their names are in states.ts. */
  readonly state: number;
  readonly lcmState: number;
  /** PREV_STATE and PREV_LCM_STATE: in a hook's XML the state before the change, elsewhere the current one. */
  readonly previous: { readonly state: number; readonly lcmState: number } | undefined;
  /** OS/UUID, which oned gives every VM that has none; undefined when it is missing or not valid. */
  readonly uuid: string | undefined;
  /** STIME: when the VM was made, in epoch seconds. */
  readonly stime: number | undefined;
  /** The name of the libvirt domain, as OpenNebula reports it; never built from the id. */
  readonly deployId: string | undefined;
  /** Undefined when it is not locked. */
  readonly lock: VmLock | undefined;
  /** Ascending by id. */
  readonly disks: readonly Disk[];
  /** TEMPLATE/TM_MAD_SYSTEM. */
  readonly tmMadSystem: string | undefined;
  /** The last history record: the host that the VM is on, or was on last. Undefined for a VM that never ran. */
  readonly history: History | undefined;
  /** The SCHED_ACTION elements outside TEMPLATE (they are not part of it from 6.4 on). */
  readonly schedActions: readonly XmlElement[];
  /** BACKUPS/BACKUP_CONFIG. */
  readonly backupConfig: XmlElement | undefined;
  /** The TEMPLATE and USER_TEMPLATE elements. */
  readonly template: XmlElement;
  readonly userTemplate: XmlElement;
  /** The document, byte for byte as received (after base64 is decoded). */
  readonly xmlBytes: Buffer;
}

/** A volatile disk (`fs`, `swap`) has no image and is on the system datastore. */
export function isVolatile(disk: Disk): boolean {
  return ['fs', 'swap'].includes(disk.type.toLowerCase());
}

/** A folder that a host shares with its guests (virtiofs, OpenNebula 7.2 on), which is not a disk. */
export function isSharedFolder(disk: Disk): boolean {
  return disk.type.toUpperCase() === 'FILESYSTEM';
}

export function isCdrom(disk: Disk): boolean {
  return ['CDROM', 'RBD_CDROM'].includes(disk.type.toUpperCase());
}

/** Whether no guest can write to the disk: a CD-ROM, or a disk that OpenNebula attaches as read-only. */
export function isReadOnly(disk: Disk): boolean {
  return isCdrom(disk) || disk.readonly;
}
