// Decides how each disk of a bundle is restored: as a new image, as an image that still exists, as a new volatile disk,
// or not at all. Pure: what oned knows is passed in.
import type { Bundle, BundleDisk } from '../bundle/read/bundle.ts';
import type { DiskFormat, ImageFacts } from '../bundle/format/manifest.ts';
import { standAloneHeader } from '../bundle/read/qcow2-disk.ts';
import { childText } from '../xml/xml.ts';
import { BundleError, UsageError } from '../report/errors.ts';
import { declaredFormat } from '../storage/disk-format.ts';
import { isCdrom, isSharedFolder, isVolatile, type Disk, type Vm } from '../vm/vm.ts';
import type { OldObject } from './mapping.ts';

export interface ImagePlan {
  readonly as: 'register';
  readonly disk: Disk;
  readonly source: BundleDisk;
  readonly format: DiskFormat;
  readonly type: 'OS' | 'CDROM' | 'DATABLOCK';
  readonly persistent: boolean;
  readonly devPrefix: string | undefined;
  readonly description: string | undefined;
  /** The datastore that the disk's image was in; the caller may choose another. Undefined: not known. */
  readonly datastore: OldObject | undefined;
  readonly attributes: Readonly<Record<string, string>>;
}

export type DiskPlan =
  | ImagePlan
  /** A CD-ROM or a folder that the host shares with the VM, whose image still exists. */
  | { readonly as: 'reuse'; readonly disk: Disk; readonly imageId: number }
  /** New and empty. `lost`: the old disk may have had data, which is not in the bundle. */
  | { readonly as: 'volatile'; readonly disk: Disk; readonly lost: boolean }
  /**
   * A disk that is not in the bundle: it was left out of the export, or the bundle is cut off before it; or a CD-ROM that
   * the backup left out and whose image no longer exists; or a folder that the host shared with the VM, whose image cannot be used. The VM
   * is restored without it.
   */
  | { readonly as: 'absent'; readonly disk: Disk };

export interface PlanOptions {
  readonly volatile: 'image' | 'fresh';
  /** Only these disks; undefined means all. */
  readonly only: readonly number[] | undefined;
  /** The images that still exist and are used again (`keptImages`), by disk id. */
  readonly kept: ReadonlyMap<number, number>;
}

/**
 * One plan for each disk, ascending by id.
 * @throws BundleError when the bundle's disks are not those of its VM, UsageError when the user names a disk that is not
 *   in the bundle
 */
export function planDisks(vm: Vm, bundle: Bundle, options: PlanOptions): DiskPlan[] {
  const inBundle = new Map(bundle.disks.map((disk) => [disk.id, disk]));
  for (const { id } of bundle.disks) {
    if (!vm.disks.some((disk) => disk.id === id)) {
      throw new BundleError(`${bundle.name} holds disk ${id}, but its vm.xml has no such disk`);
    }
  }
  for (const id of options.only ?? []) {
    if (inBundle.has(id)) continue;
    const facts = { bundle: bundle.name, diskId: id };
    throw new UsageError(`${bundle.name} has no disk ${id}`, { code: 'disk-not-found', facts });
  }
  const os = vm.disks.find(
    (disk) => !isCdrom(disk) && !isVolatile(disk) && !isSharedFolder(disk),
  )?.id;
  return vm.disks
    .filter((disk) => options.only?.includes(disk.id) ?? true)
    .map((disk) => {
      const kept = options.kept.get(disk.id);
      if (kept !== undefined) return { as: 'reuse', disk, imageId: kept };
      if (comesBackEmpty(disk, options)) return { as: 'volatile', disk, lost: false };
      const source = inBundle.get(disk.id);
      if (!source && !options.only && mayLack(bundle, disk)) {
        return isVolatile(disk) ? { as: 'volatile', disk, lost: true } : { as: 'absent', disk };
      }
      if (!source) throw new BundleError(`${bundle.name} lacks disk ${disk.id} of its vm.xml`);
      return imagePlan(bundle, disk, source, disk.id === os);
    });
}

/** Whether an undamaged bundle (or one that is known to be cut off) may be without this disk. */
function mayLack({ cut, about }: Bundle, disk: Disk): boolean {
  if (isSharedFolder(disk) || cut !== undefined) return true;
  if (!about) return false;
  // A backup of OpenNebula leaves out CD-ROMs, and volatile disks unless the VM's owner asked for them.
  return about.leftOut?.includes(disk.id) === true || isVolatile(disk) || isCdrom(disk);
}

/** Swap disks are always made new. Other volatile disks are restored with their data, unless the user wants them fresh. */
function comesBackEmpty(disk: Disk, { volatile, only }: PlanOptions): boolean {
  if (!isVolatile(disk) || only) return false;
  return volatile === 'fresh' || disk.type.toLowerCase() === 'swap';
}

function imagePlan(bundle: Bundle, disk: Disk, source: BundleDisk, isOs: boolean): ImagePlan {
  const facts = bundle.about?.disks.find(({ id }) => id === disk.id)?.image;
  return {
    as: 'register',
    disk,
    source,
    format: source.format ?? declaredFormat(disk, facts?.format),
    type: facts?.type ?? (isCdrom(disk) ? 'CDROM' : isOs ? 'OS' : 'DATABLOCK'),
    persistent: facts?.persistent ?? disk.persistent,
    devPrefix: facts?.devPrefix ?? disk.devPrefix,
    description: facts?.description,
    datastore: imageDatastore(disk, facts),
    attributes: facts?.attributes ?? {},
  };
}

/** A volatile disk names the system datastore, which cannot hold images: it has no image datastore. */
function imageDatastore(disk: Disk, facts: ImageFacts | undefined): OldObject | undefined {
  const inVm = childText(disk.xml, 'DATASTORE') || undefined;
  if (facts) return { id: facts.datastoreId, name: facts.datastore ?? inVm };
  if (isVolatile(disk) || disk.datastoreId === undefined) return undefined;
  return { id: disk.datastoreId, name: inVm };
}

/**
 * The size that oned will see in the image, in MiB, rounded up as oned does.
 * @throws BundleError for a qcow2 disk that must not be opened
 */
export async function imageSizeMb({ format, source }: ImagePlan): Promise<number> {
  if (format === 'raw') return Math.ceil(source.size / 2 ** 20);
  return Math.ceil((await standAloneHeader(source, 'restored')).virtualSize / 2 ** 20);
}
