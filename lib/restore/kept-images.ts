// Finds the images that a restored VM uses again, if they still exist: those of CD-ROMs, which are read-only, and those
// of folders that the host shares with its guests (TYPE FILESYSTEM), which are not in a bundle.
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { findDiskImage, findFolderImage } from '../one/images.ts';
import { isCdrom, isSharedFolder, type Disk, type Vm } from '../vm/vm.ts';

/**
 * The image ids of CD-ROMs and shared folders whose image still has the same id, name, type and source, and is usable;
 * by DISK_ID. All other CD-ROMs are restored from the bundle, and the VM is restored without all other folders.
 * @param instantiate whether a VM is made at once: it cannot have a folder that is for one VM only, and that another VM
 *   has
 * @throws OpenNebulaError when oned does not answer
 */
export async function keptImages(
  vm: Vm,
  bundle: Bundle,
  one: OneClient,
  instantiate: boolean,
): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for (const disk of vm.disks) {
    const { imageId } = disk;
    if (imageId === undefined) continue;
    const isKept =
      (isCdrom(disk) && (await isSameCdrom(imageId, disk, bundle, one))) ||
      (isSharedFolder(disk) && (await isSameFolder(imageId, disk, one, instantiate)));
    if (isKept) found.set(disk.id, imageId);
  }
  return found;
}

async function isSameCdrom(
  id: number,
  disk: Disk,
  bundle: Bundle,
  one: OneClient,
): Promise<boolean> {
  const facts = bundle.about?.disks.find((known) => known.id === disk.id)?.image;
  const image = await findDiskImage(one, id);
  const isSame =
    image?.facts.type === 'CDROM' &&
    image.facts.name === (facts?.name ?? disk.image) &&
    (disk.source === undefined || image.source === disk.source);
  return isSame && image.usable;
}

async function isSameFolder(
  id: number,
  disk: Disk,
  one: OneClient,
  instantiate: boolean,
): Promise<boolean> {
  const image = await findFolderImage(one, id);
  const isSame = image !== undefined && image.name === disk.image && image.source === disk.source;
  return isSame && image.usable && !(instantiate && image.isTaken);
}
