// The image a CD-ROM came from is used again when it still exists: a disc is the same for everybody.
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { findDiskImage } from '../one/images.ts';
import { isCdrom, type Vm } from '../vm/vm.ts';

/**
 * CD-ROMs whose image is still what it was: same id, name, type and place, and usable. By DISK_ID. For any other the
 * bundle has a copy of its own.
 * @throws OpenNebulaError when oned does not answer
 */
export async function existingCdroms(
  vm: Vm,
  bundle: Bundle,
  one: OneClient,
): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for (const disk of vm.disks) {
    if (!isCdrom(disk) || disk.imageId === undefined) continue;
    const facts = bundle.manifest?.disks.find(({ id }) => id === disk.id)?.image;
    const image = await findDiskImage(one, disk.imageId);
    const same =
      image?.facts.type === 'CDROM' &&
      image.facts.name === (facts?.name ?? disk.image) &&
      (disk.source === undefined || image.source === disk.source);
    if (same && image.usable) found.set(disk.id, disk.imageId);
  }
  return found;
}
