// Which module serves a disk: the one place where a TM_MAD decides anything.
import type { ImageFacts } from '../bundle/format/manifest.ts';
import { UnsupportedError, UsageError } from '../report/errors.ts';
import { tmMadOf } from '../vm/tm-mad.ts';
import { isSharedFolder, isVolatile, type Disk, type Vm } from '../vm/vm.ts';
import { cephStorage } from './ceph/ceph.ts';
import { deviceStorage } from './device/device.ts';
import { declaredFormat } from './disk-format.ts';
import { fileStorage } from './file/file.ts';
import { lvmStorage } from './lvm/lvm.ts';
import type { PlannedDump, RestoreFacts, StorageModule } from './storage.ts';

/** All modules, in the order in which messages name their TM_MADs. */
export const storageModules: readonly StorageModule[] = [
  fileStorage,
  lvmStorage,
  cephStorage,
  deviceStorage,
];

const byTmMad: ReadonlyMap<string, StorageModule> = new Map(
  storageModules.flatMap((module) =>
    Object.keys(module.tmMads).map((tmMad) => [tmMad, module] as const),
  ),
);

/** The TM_MADs whose disks can be dumped. */
const tmMads: readonly string[] = [...byTmMad.keys()];

/** Those that a system datastore can have, and which have actions for backups. */
export const systemTmMads: readonly string[] = tmMads.filter((tmMad) => restoreFacts(tmMad));

/**
 * Plans the dump of a VM's disks. Pure. Folders that the host shares with the guest are not disks, and are left out.
 * @param images what oned knows about the disks' images, by DISK_ID.
 * @param only the DISK_IDs of the disks that are wanted; undefined: all.
 * @throws UnsupportedError for the first disk that cannot be dumped, UsageError for one that the VM does not have.
 */
export function planDumps(
  vm: Vm,
  images: ReadonlyMap<number, Pick<ImageFacts, 'format'>>,
  only?: readonly number[],
): readonly PlannedDump[] {
  const missing = only?.find((id) => !vm.disks.some((disk) => disk.id === id));
  if (missing !== undefined) {
    const facts = { vmId: vm.id, diskId: missing };
    throw new UsageError(`VM ${vm.id} has no disk ${missing}`, { code: 'disk-not-found', facts });
  }
  const wanted = vm.disks.filter(({ id }) => only?.includes(id) ?? true);
  const folder = wanted.find((disk) => only && isSharedFolder(disk));
  if (folder) {
    throw new UnsupportedError(
      `disk ${folder.id} of VM ${vm.id} is a folder that its host shares with it (FILESYSTEM), and cannot be dumped`,
    );
  }
  return wanted
    .filter((disk) => !isSharedFolder(disk))
    .map((disk) => {
      const module = moduleOf(vm, disk);
      const format = declaredFormat(disk, images.get(disk.id)?.format);
      return { module, plan: module.plan(vm, disk, format) };
    });
}

function moduleOf(vm: Vm, disk: Disk): StorageModule {
  const tmMad = tmMadOf(vm, disk);
  if (tmMad === undefined) {
    throw new UnsupportedError(
      `VM ${vm.id} does not say on which storage disk ${disk.id} lies (it has no TM_MAD); was it ever deployed?`,
    );
  }
  const module = isExportedFromCeph(disk, tmMad) ? fileStorage : byTmMad.get(tmMad);
  if (module) return module;
  throw new UnsupportedError(
    `disk ${disk.id} of VM ${vm.id} lies on a storage that cannot be dumped: TM_MAD ${tmMad} (supported: ${tmMads.join(', ')})`,
    { code: 'unsupported-storage', facts: { vmId: vm.id, diskId: disk.id, tmMad } },
  );
}

/**
 * Whether the disk is an image of a Ceph datastore that was copied into a file on a system datastore of TM ssh. oned
 * shows that in DISK_TYPE (DISK_TYPE_SSH of the driver in oned.conf), while TM_MAD stays ceph and TYPE may stay RBD.
 */
function isExportedFromCeph(disk: Disk, tmMad: string): boolean {
  return tmMad === 'ceph' && !isVolatile(disk) && disk.diskType === 'FILE';
}

/**
 * Whether a TM driver's `restore` treats a raw disk as raw. Others (ceph, fs_lvm_ssh from 7.0 on, lvm) convert it
 * with `qemu-img convert`, without a format: if a guest has written a qcow2 header into its raw disk, the restored
 * disk would get what that header names, such as a file of the host. Such drivers must get raw disks wrapped in
 * qcow2, and so must unknown ones.
 */
export function takesRawAsIs(tmMad: string | undefined): boolean {
  return restoreFacts(tmMad)?.movesDisks === true;
}

/** Whether a TM driver's `restore` puts back the state of a vTPM, if this OpenNebula has vTPMs (7.2 and newer). */
export function takesTpm(tmMad: string | undefined): boolean {
  return restoreFacts(tmMad)?.unpacksTpm === true;
}

/** What OpenNebula's own `restore` of a TM driver does; undefined for an unknown driver. */
function restoreFacts(tmMad: string | undefined): RestoreFacts | undefined {
  return tmMad === undefined ? undefined : byTmMad.get(tmMad)?.tmMads[tmMad];
}
