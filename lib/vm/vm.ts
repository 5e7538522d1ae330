// A virtual machine as OpenNebula describes it, in OpenNebula's words, already checked:
// ids are numbers, lists are lists. Parsed by lib/vm/vm-xml.ts. Sources: <VM> as oned returns it
// (one.vm.info), as a hook gets it, and as a driver action gets it.
import type { XmlElement } from '../xml/xml.ts';

/** One DISK of the VM's TEMPLATE. CONTEXT is not a DISK. */
export interface Disk {
  /** DISK_ID. */
  readonly id: number;
  /** TYPE in capitals: FILE, BLOCK, RBD, CDROM, RBD_CDROM, FILESYSTEM, FS, SWAP; from 6.x volatile disks are `fs`, `swap`. */
  readonly type: string;
  /** FORMAT and DRIVER as declared; lib/storage decides with disk-format.ts, never by looking at bytes. */
  readonly format: string | undefined;
  readonly driver: string | undefined;
  /** This disk's own TM_MAD; undefined where OpenNebula gave none (the history's TM_MAD counts then). */
  readonly tmMad: string | undefined;
  readonly source: string | undefined;
  readonly imageId: number | undefined;
  readonly image: string | undefined;
  readonly imageUname: string | undefined;
  /** Of a volatile disk: the system datastore. */
  readonly datastoreId: number | undefined;
  /** SIZE in MiB. */
  readonly sizeMb: number | undefined;
  /** ORIGINAL_SIZE in MiB: the size of the image, where the disk was made larger or may have been. */
  readonly originalSizeMb: number | undefined;
  /** The device in the guest, such as vda. */
  readonly target: string | undefined;
  readonly devPrefix: string | undefined;
  readonly persistent: boolean;
  readonly readonly: boolean;
  /** CLONE: the disk is a copy of its image; else it is the image itself. */
  readonly clone: boolean;
  /** DISK_TYPE in capitals: how the disk lies on the storage (FILE, BLOCK, RBD), also where TYPE is fs or swap. */
  readonly diskType: string | undefined;
  readonly cephUser: string | undefined;
  readonly cephKey: string | undefined;
  readonly cephConf: string | undefined;
  readonly poolName: string | undefined;
  /** The whole element, for everything a template keeps. */
  readonly xml: XmlElement;
}

/** One HISTORY record. */
export interface History {
  readonly seq: number;
  /** STIME: when this record began, in epoch seconds. */
  readonly stime: number | undefined;
  readonly hostname: string;
  readonly tmMad: string;
  /** DS_ID: the system datastore. */
  readonly datastoreId: number;
}

/** LOCK. Who locks a locked VM replaces it: then another OWNER, TIME (epoch seconds) or REQ_ID stands there. */
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
  /** PREV_STATE and PREV_LCM_STATE: in a hook's XML what it was before the change, elsewhere the same as now. */
  readonly previous: { readonly state: number; readonly lcmState: number } | undefined;
  /** OS/UUID, which oned gives every VM that has none; undefined where it is missing, or is none. */
  readonly uuid: string | undefined;
  /** STIME: when the VM was made, in epoch seconds. */
  readonly stime: number | undefined;
  /** The libvirt domain; read, never built. */
  readonly deployId: string | undefined;
  /** Undefined when it is not locked. */
  readonly lock: VmLock | undefined;
  /** Ascending by id. */
  readonly disks: readonly Disk[];
  /** TEMPLATE/TM_MAD_SYSTEM. */
  readonly tmMadSystem: string | undefined;
  /** The last history record: where the VM is, or was last. Undefined for a VM that never ran. */
  readonly history: History | undefined;
  /** The SCHED_ACTION elements beside the TEMPLATE (from 6.4 on they are no part of it any more). */
  readonly schedActions: readonly XmlElement[];
  /** BACKUPS/BACKUP_CONFIG. */
  readonly backupConfig: XmlElement | undefined;
  /** The TEMPLATE and USER_TEMPLATE elements. */
  readonly template: XmlElement;
  readonly userTemplate: XmlElement;
  /** The document byte for byte as it came (decoded where it came as base64). */
  readonly xmlBytes: Buffer;
}

/** A volatile disk (`fs`, `swap`) has no image behind it and lies on the system datastore. */
export function isVolatile(disk: Disk): boolean {
  return ['fs', 'swap'].includes(disk.type.toLowerCase());
}

/** A folder that a host shares with its guests (virtiofs, OpenNebula 7.2 on), and no disk. */
export function isSharedFolder(disk: Disk): boolean {
  return disk.type.toUpperCase() === 'FILESYSTEM';
}

export function isCdrom(disk: Disk): boolean {
  return ['CDROM', 'RBD_CDROM'].includes(disk.type.toUpperCase());
}
