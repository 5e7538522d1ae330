// Finds the images of CD-ROMs that still exist: a restored VM uses them again, because a CD-ROM is read-only.
import type { Bundle } from '../bundle/read/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { findDiskImage } from '../one/images.ts';
import { isCdrom, type Vm } from '../vm/vm.ts';

/**
 * The image ids of CD-ROMs whose image still has the same id, name, type and source, and is usable; by DISK_ID. All other
 * CD-ROMs are restored from the bundle.
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
