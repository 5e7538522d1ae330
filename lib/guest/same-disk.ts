// Checks that QEMU writes to the disk that OpenNebula means. Otherwise another disk than the guest's would be read.
import { FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { realPaths } from '../tools/file-facts.ts';
import type { DomainFacts } from './domain.ts';

/** What QEMU has open: the path of a file or device, or the `<pool>/<image>` of an RBD image. */
export type DiskPlace = { readonly path: string } | { readonly rbd: string };

/** A disk as OpenNebula describes it. */
export interface DiskOfGuest {
  /** "disk 0 of VM 7". */
  readonly label: string;
  /** The device in the guest, such as vda. */
  readonly target: string | undefined;
  readonly place: DiskPlace;
  readonly format: string;
}

/**
 * Checks one disk.
 * @returns the disk's target
 * @throws FailedError when QEMU writes to another disk, uses it in another format, or copies or merges it
 */
export async function requireSameDisk(
  { label, target, place, format }: DiskOfGuest,
  { disks: known }: Pick<DomainFacts, 'disks'>,
  { runner }: Run,
): Promise<string> {
  const mismatch = (why: string): FailedError =>
    new FailedError(`${label} (${target ?? 'without a TARGET'}) ${why}`);
  const found = target === undefined ? undefined : known.get(target);
  if (target === undefined || !found) throw mismatch('is unknown to libvirt');
  if (found.busy) throw mismatch('is being copied or merged by libvirt; try again later');
  const there = found.rbd ?? found.device ?? found.file;
  const isSame =
    'rbd' in place
      ? found.rbd === place.rbd
      : there !== undefined && (await isSamePath(place.path, there));
  if (!isSame) {
    const ours = 'rbd' in place ? place.rbd : place.path;
    throw mismatch(
      `is ${ours} for OpenNebula, but ${there ?? `a disk of the type ${found.type}`} for libvirt`,
    );
  }
  if (found.format !== format) {
    throw mismatch(`is declared as ${format}, but libvirt uses it as ${found.format ?? 'nothing'}`);
  }
  return target;

  /**
   * Either path may be a link: OpenNebula gives libvirt the link in the VM's folder. A file that does not exist is
   * never the same.
   */
  async function isSamePath(path: string, other: string): Promise<boolean> {
    const [real, realOther] = await realPaths(runner, [path, other]);
    return realOther !== undefined && real === realOther;
  }
}
