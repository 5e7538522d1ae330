// What a restore checks in a bundle before it asks OpenNebula anything. `verify` makes the same checks, so that a bundle
// that it reports as OK can be restored.
import type { Bundle, BundleDisk } from '../bundle/read/bundle.ts';
import type { DiskFormat } from '../bundle/format/manifest.ts';
import { standAloneHeader } from '../bundle/read/qcow2-disk.ts';
import { parseVm } from '../vm/vm-xml.ts';
import { BundleError, UsageError } from '../report/errors.ts';
import { declaredFormat } from '../storage/disk-format.ts';
import type { Vm } from '../vm/vm.ts';
import { planDisks } from './image-plan.ts';
import { requireDeclaredSize, requireWholeInBundle } from './whole-disk.ts';

/** The VM of a bundle. @throws BundleError when vm.xml cannot be parsed, or is of another VM than about.json says */
export function bundleVm(bundle: Pick<Bundle, 'name' | 'about' | 'vmXml'>): Vm {
  const { name, about, vmXml } = bundle;
  let vm: Vm;
  try {
    vm = parseVm(vmXml);
  } catch (cause) {
    // parseVm reports bad XML as the user's mistake; in a bundle it is damage.
    if (!(cause instanceof UsageError)) throw cause;
    throw new BundleError(`bundle ${name}: its vm.xml cannot be used: ${cause.message}`, { cause });
  }
  if (about && about.vm.id !== vm.id) {
    throw new BundleError(
      `bundle ${name}: about.json is of VM ${about.vm.id}, its vm.xml of VM ${vm.id}`,
    );
  }
  return vm;
}

/** The disk with this id. @throws UsageError that lists the disks in the bundle, BundleError when the bundle is cut off */
export function diskOf(bundle: Bundle, id: number): BundleDisk {
  const disk = bundle.disks.find((candidate) => candidate.id === id);
  if (disk) return disk;
  const ids = bundle.disks.map((candidate) => candidate.id).join(', ') || 'none';
  if (bundle.cut !== undefined) {
    throw new BundleError(
      `bundle ${bundle.name} is cut off and does not have all of disk ${id}; complete disks: ${ids}`,
    );
  }
  throw new UsageError(`${bundle.name} has no disk ${id}; it has: ${ids}`, {
    code: 'disk-not-found',
    facts: { bundle: bundle.name, diskId: id },
  });
}

/** The format of a disk in the bundle, as the manifest or, without one, vm.xml declares it. @throws BundleError */
export function formatOf(bundle: Bundle, disk: BundleDisk): DiskFormat {
  if (disk.format) return disk.format;
  const declared = bundleVm(bundle).disks.find(({ id }) => id === disk.id);
  if (!declared) throw new BundleError(`${bundle.name}: its vm.xml has no disk ${disk.id}`);
  return declaredFormat(declared);
}

/**
 * The size of a disk as the guest sees it, in bytes.
 * @param doing for the message, what cannot be done with a bad disk: `restored`
 * @throws BundleError for a qcow2 disk that must not be opened
 */
export async function virtualSizeOf(
  bundle: Bundle,
  disk: BundleDisk,
  doing: string,
): Promise<number> {
  if (formatOf(bundle, disk) === 'raw') return disk.size;
  return (await standAloneHeader(disk, doing)).virtualSize;
}

/**
 * Whether the VM can be restored with all of its disks, as far as the bundle alone can tell.
 * @throws BundleError when not, UnsupportedError for a disk whose format is not declared
 */
export async function requireRestorable(bundle: Bundle): Promise<void> {
  const vm = bundleVm(bundle);
  const plans = planDisks(vm, bundle, {
    volatile: 'image',
    only: undefined,
    kept: new Map(),
  });
  for (const plan of plans) {
    if (plan.as !== 'register') continue;
    if (plan.format === 'qcow2') await standAloneHeader(plan.source, 'restored');
    await requireDeclaredSize(plan.disk, plan.source, plan.format);
  }
}

/** `requireRestorable`, and that each disk is whole, for which a bundle without a manifest is read. @throws BundleError */
export async function requireWholeDisks(bundle: Bundle): Promise<void> {
  await requireRestorable(bundle);
  for (const disk of bundle.disks) {
    if (formatOf(bundle, disk) === 'qcow2') await requireWholeInBundle(disk);
  }
}
