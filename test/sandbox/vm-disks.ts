// What oned makes of the DISKs of a template: the image's and the datastore's attributes, ids, targets.
// Source: Image::disk_attribute, Datastore::disk_attribute, VirtualMachineDisks::get_images, read in 6.4.7, 6.10.5
// and 7.4.0.
import { getDatastore } from './datastores.ts';
import type { Datastore } from './datastores.ts';
import { imageState, imageStateName } from './image-states.ts';
import { releaseImage, setImageState } from './images.ts';
import type { Image } from './images.ts';
import type { Release } from './release.ts';
import type { Vector } from './template.ts';
import { VmError } from './vm-error.ts';
import type { World } from './world.ts';

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^-?\d+$/.test(value) ? Number(value) : undefined;
}

/** The image a DISK names by IMAGE_ID, or by IMAGE with IMAGE_UID or IMAGE_UNAME; undefined when volatile. */
function findImage(world: World, disk: Vector, uid: number): Image | undefined {
  const id = number(disk.get('IMAGE_ID'));
  if (id !== undefined) {
    const image = world.images.get(id);
    if (!image) throw new VmError(`Image with ID: ${id} does not exist`);
    return image;
  }
  const name = disk.get('IMAGE');
  if (name === undefined) return undefined;
  const uname = disk.get('IMAGE_UNAME');
  const owner =
    number(disk.get('IMAGE_UID')) ?? (uname === undefined ? uid : world.users.byName(uname)?.id);
  const image = [...world.images.values()].find((one) => one.name === name && one.uid === owner);
  if (!image) {
    throw new VmError(
      `User ${owner ?? uid} does not own an image with name: ${name} . Set IMAGE_UNAME or IMAGE_UID of owner in DISK.`,
    );
  }
  return image;
}

/** Source: ImageManager::acquire_image. */
function acquire(image: Image, vmId: number): void {
  const shareable = image.template.get('PERSISTENT_TYPE')?.toUpperCase() === 'SHAREABLE';
  if (!['OS', 'DATABLOCK', 'CDROM', 'FILESYSTEM'].includes(image.type)) {
    throw new VmError(
      `Image ${image.id} (${image.name}) of type ${image.type} cannot be used as DISK.`,
    );
  }
  const { ready, locked, used, usedPersistent, lockedUsed, lockedUsedPersistent } = imageState;
  switch (image.state) {
    case ready:
      setImageState(image, image.persistent ? usedPersistent : used);
      break;
    case locked:
      setImageState(image, image.persistent ? lockedUsedPersistent : lockedUsed);
      break;
    case used:
    case lockedUsed:
      break;
    case usedPersistent:
    case lockedUsedPersistent:
      if (shareable) break;
      throw new VmError(`Cannot acquire image ${image.id}, it is persistent and already in use`);
    default:
      throw new VmError(
        `Cannot acquire image ${image.id}, it is in state: ${imageStateName(image.state)}`,
      );
  }
  image.vms.add(vmId);
}

function imageAttributes(disk: Vector, image: Image, release: Release): void {
  const size = number(disk.get('SIZE'));
  if (size !== undefined && size !== image.sizeMb) {
    const fixed = image.persistent ? 'persistent' : image.type === 'CDROM' ? 'CDROM' : undefined;
    if (fixed)
      throw new VmError(`SIZE attribute is not supported for ${fixed} image [${image.id}].`);
    if (size < image.sizeMb) {
      throw new VmError(
        `SIZE of ${size}MB is less than the image [${image.id}] size of ${image.sizeMb}MB.`,
      );
    }
  }
  const set = (values: Record<string, string | number>): void => {
    for (const [key, value] of Object.entries(values)) disk.set(key, String(value));
  };
  // From 7.4.0 on a CD-ROM's prefix depends on the machine, and is not kept.
  const hasPrefix =
    image.type !== 'FILESYSTEM' && !(image.type === 'CDROM' && release.atLeast('7.4.0'));
  if (!disk.get('DEV_PREFIX') && hasPrefix) {
    set({ DEV_PREFIX: image.template.get('DEV_PREFIX') ?? 'sd' });
  }
  if (!disk.get('SIZE')) set({ SIZE: image.sizeMb });
  set({
    IMAGE: image.name,
    IMAGE_ID: image.id,
    SOURCE: image.source,
    ORIGINAL_SIZE: image.sizeMb,
    DISK_SNAPSHOT_TOTAL_SIZE: 0,
    IMAGE_STATE: image.state,
    TYPE: image.type === 'CDROM' || image.type === 'FILESYSTEM' ? image.type : 'FILE',
  });
  for (const one of ['FORMAT', 'DRIVER']) {
    if (image.format === '') disk.delete(one);
    else disk.set(one, image.format);
  }
  if (image.type === 'CDROM') {
    set({ SAVE: 'NO', CLONE: 'NO', READONLY: 'YES' });
  } else {
    if (!disk.get('READONLY')) set({ READONLY: image.template.get('READONLY') ?? 'NO' });
    if (image.persistent) set({ PERSISTENT: 'YES', CLONE: 'NO', SAVE: 'YES' });
    else set({ CLONE: 'YES', SAVE: 'NO' });
  }
  const target = image.template.get('TARGET');
  if (!disk.get('TARGET') && target) set({ TARGET: target });
  if (image.type !== 'FILESYSTEM') return;
  for (const [name, value] of [
    ['MOUNT_POINT', `/mnt/one-fs-${image.id}`],
    ['MOUNT_TAG', `one-tag-${image.id}`],
  ] as const) {
    if (!disk.get(name)) set({ [name]: image.template.get(name) ?? value });
  }
}

function datastoreAttributes(disk: Vector, datastore: Datastore): void {
  disk.set('DATASTORE', datastore.name);
  disk.set('DATASTORE_ID', String(datastore.id));
  disk.set('TM_MAD', datastore.tmMad);
  disk.set('CLUSTER_ID', '0');
  const system = (disk.get('TM_MAD_SYSTEM') ?? '').toUpperCase();
  for (const name of ['CLONE_TARGET', 'LN_TARGET']) {
    const special = system && datastore.template.get(`${name}_${system}`);
    const value = special || datastore.template.get(name);
    if (value && !disk.get(name)) disk.set(name, value);
  }
  for (const name of ['DISK_TYPE', 'ALLOW_ORPHANS', 'SPARSE', 'QCOW2_STANDALONE']) {
    const value = datastore.template.get(name);
    if (value && !disk.get(name)) disk.set(name, value);
  }
}

/** Of a volatile disk, once its system datastore is known. */
export function volatileAttributes(disk: Vector, datastore: Datastore): void {
  datastoreAttributes(disk, datastore);
  disk.delete('CLONE_TARGET');
  disk.delete('LN_TARGET');
  const driver = datastore.template.get('DRIVER');
  const swap = disk.get('TYPE')?.toUpperCase() === 'SWAP';
  const format = swap ? 'raw' : (driver ?? (disk.get('FORMAT') || 'raw'));
  disk.set('DRIVER', format);
  disk.set('FORMAT', format);
}

export function isVolatile(disk: Vector): boolean {
  return ['SWAP', 'FS'].includes((disk.get('TYPE') ?? '').toUpperCase()) && !disk.has('IMAGE_ID');
}

function letters(index: number): string {
  const rest = String.fromCharCode(97 + (index % 26));
  return index < 26 ? rest : letters(Math.floor(index / 26) - 1) + rest;
}

function assignTargets(disks: readonly Vector[], used: Set<string>, otherwise: string): void {
  for (const disk of disks) {
    const prefix = disk.get('DEV_PREFIX') || otherwise;
    let index = 0;
    while (used.has(prefix + letters(index))) index += 1;
    disk.set('TARGET', prefix + letters(index));
    used.add(prefix + letters(index));
  }
}

/**
 * Fills in all disks of a new VM and takes its images; gives them back when one cannot be had.
 * @throws VmError in oned's words.
 */
export function acquireDisks(
  world: World,
  vm: { readonly id: number; readonly uid: number },
  disks: readonly Vector[],
  context: Vector | undefined,
  tmMadSystem: string,
  machine: string,
): void {
  const { release } = world.settings;
  const q35 = machine.includes('q35') || (release.atLeast('7.4.0') && machine.includes('virt'));
  const taken: Image[] = [];
  const queues = { os: [] as Vector[], cdrom: [] as Vector[], data: [] as Vector[] };
  const used = new Set<string>();
  const claim = (target: string): void => {
    if (used.has(target)) throw new VmError(`Two disks have defined the same target ${target}`);
    used.add(target);
  };
  try {
    for (const [id, disk] of disks.entries()) {
      try {
        if (tmMadSystem) disk.set('TM_MAD_SYSTEM', tmMadSystem);
        else disk.delete('TM_MAD_SYSTEM');
        const image = findImage(world, disk, vm.uid);
        if (image) {
          if (image.type === 'FILESYSTEM' && taken.includes(image))
            throw new VmError('File system image can only be added once to the same VM');
          acquire(image, vm.id);
          taken.push(image);
          imageAttributes(disk, image, release);
          datastoreAttributes(disk, getDatastore(world.datastores, image.datastoreId));
        } else {
          volatileRequest(disk);
        }
        disk.set('DISK_ID', String(id));
        const target = disk.get('TARGET');
        if (target) claim(target);
        else if (image?.type === 'FILESYSTEM') continue;
        else if (image?.type === 'CDROM') queues.cdrom.push(disk);
        else if (image?.type === 'OS' && queues.os.length === 0) queues.os.push(disk);
        else queues.data.push(disk);
      } catch (error) {
        if (error instanceof VmError && !error.message.startsWith('Two disks')) {
          throw new VmError(`DISK ${id}: ${error.message}`);
        }
        throw error;
      }
    }
    const onIde = disks.filter((disk) => disk.get('DEV_PREFIX') === 'hd').length;
    if (onIde > 4 && !q35 && release.atLeast('6.10.0')) {
      throw new VmError(`Non-q35 VM ${vm.id} has more than 4 hd disks`);
    }
    if (context) {
      context.set('DISK_ID', String(disks.length));
      const target = context.get('TARGET');
      if (target) claim(target);
      else queues.cdrom.push(context);
    }
  } catch (error) {
    for (const image of taken) releaseImage(image, vm.id);
    throw error;
  }
  const cdromPrefix = q35 && release.atLeast('7.4.0') ? 'sd' : 'hd';
  assignTargets(queues.os, used, 'sd');
  assignTargets(queues.cdrom, used, cdromPrefix);
  assignTargets(queues.data, used, 'sd');
}

function volatileRequest(disk: Vector): void {
  const type = (disk.get('TYPE') ?? '').toUpperCase();
  if (type !== 'SWAP' && type !== 'FS') throw new VmError(`Unknown disk type ${type}`);
  const size = number(disk.get('SIZE'));
  if (size === undefined || size <= 0) {
    throw new VmError('SIZE attribute must be a positive integer value.');
  }
  if (!disk.get('DEV_PREFIX')) disk.set('DEV_PREFIX', 'sd');
}
