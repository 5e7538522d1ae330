// What a restore asks of a bundle itself, before it asks OpenNebula anything. `verify` asks the same, so that a bundle
// it takes for sound is one that can be restored.
import type { Bundle } from '../bundle/bundle.ts';
import { standAloneHeader } from '../bundle/qcow2-disk.ts';
import { parseVm } from '../input/vm-xml.ts';
import { BundleError, UsageError } from '../report/errors.ts';
import type { Vm } from '../vm/vm.ts';
import { planDisks } from './image-plan.ts';

/** The VM of a bundle. @throws BundleError when vm.xml is not the XML of the VM it should be of */
export function bundleVm(bundle: Pick<Bundle, 'name' | 'manifest' | 'vmXml'>): Vm {
  const { name, manifest, vmXml } = bundle;
  let vm: Vm;
  try {
    vm = parseVm(vmXml);
  } catch (cause) {
    // Input of the user's elsewhere; in a bundle it is damage.
    if (!(cause instanceof UsageError)) throw cause;
    throw new BundleError(`bundle ${name}: its vm.xml cannot be used: ${cause.message}`, { cause });
  }
  if (manifest && manifest.vm.id !== vm.id) {
    throw new BundleError(
      `bundle ${name}: its manifest is of VM ${manifest.vm.id}, its vm.xml of VM ${vm.id}`,
    );
  }
  return vm;
}

/**
 * Whether the VM can be restored with all of its disks, as far as the bundle alone can tell.
 * @throws BundleError, UnsupportedError for a disk of which nothing says what format it has
 */
export async function requireRestorable(bundle: Bundle): Promise<void> {
  const vm = bundleVm(bundle);
  const plans = planDisks(vm, bundle, {
    volatile: 'image',
    only: undefined,
    cdroms: new Map(),
  });
  for (const plan of plans) {
    if (plan.as === 'register' && plan.format === 'qcow2') {
      await standAloneHeader(plan.source, 'restored');
    }
  }
}
