// The image a CD-ROM came from is used again when it still exists: a disc is the same for everybody.
import type { Bundle } from '../bundle/bundle.ts';
import type { OneClient } from '../one/client.ts';
import { getImage } from '../one/images.ts';
import { OpenNebulaError } from '../report/errors.ts';
import { isCdrom, type Vm } from '../vm/vm.ts';

/** CD-ROMs whose image is still what it was: same id, name and type, and usable. By DISK_ID. */
export async function existingCdroms(
  vm: Vm,
  bundle: Bundle,
  one: OneClient,
): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for (const disk of vm.disks) {
    if (!isCdrom(disk) || disk.imageId === undefined) continue;
    const facts = bundle.manifest?.disks.find(({ id }) => id === disk.id)?.image;
    try {
      const image = await getImage(one, disk.imageId);
      const same =
        image.facts.type === 'CDROM' &&
        image.facts.name === (facts?.name ?? disk.image) &&
        (disk.source === undefined || image.source === disk.source);
      if (same && image.usable) found.set(disk.id, disk.imageId);
    } catch (error) {
      // Deleted, or not for this user: the bundle has its own copy.
      if (!(error instanceof OpenNebulaError) || error.code === undefined) throw error;
    }
  }
  return found;
}
