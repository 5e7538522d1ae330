// Which module serves a disk: the one place where a TM_MAD decides anything.
import type { ImageFacts } from '../bundle/manifest.ts';
import { UnsupportedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import { isVolatile, type Disk, type Vm } from '../vm/vm.ts';
import { declaredFormat } from './disk-format.ts';
import { fileStorage } from './file.ts';
import type { DumpPlan, OpenableDisk, StorageModule, VmSnapshot } from './storage.ts';

/** `local` is the name of `ssh` from OpenNebula 7.0 on. */
const modules = new Map<string, StorageModule>([
  ['ssh', fileStorage],
  ['local', fileStorage],
  ['shared', fileStorage],
  ['qcow2', fileStorage],
]);

/** A disk that is going to be dumped, and by whom. */
export interface DiskPlan {
  readonly module: StorageModule;
  readonly plan: DumpPlan;
}

/**
 * Plans the dump of every disk of a VM. Pure.
 * @param images what oned knows of the disks' images, by DISK_ID.
 * @throws UnsupportedError for the first disk that cannot be dumped.
 */
export function planDisks(
  vm: Vm,
  images: ReadonlyMap<number, Pick<ImageFacts, 'format'>>,
): readonly DiskPlan[] {
  return vm.disks.map((disk) => {
    const module = moduleOf(vm, disk);
    const format = declaredFormat(disk, images.get(disk.id)?.format);
    return { module, plan: module.plan(vm, disk, format) };
  });
}

/** Fixes one instant for all planned disks. Everything it changes is in the run's journal. */
export async function snapshotDisks(plans: readonly DiskPlan[], run: Run): Promise<VmSnapshot> {
  const at = new Date().toISOString();
  const disks: OpenableDisk[] = [];
  for (const module of new Set(plans.map((one) => one.module))) {
    const own = plans.filter((one) => one.module === module).map(({ plan }) => plan);
    for (const snapshot of await module.snapshot(own, run)) {
      disks.push({
        id: snapshot.plan.disk.id,
        layout: snapshot.layout,
        open: () => module.open(snapshot, run),
      });
    }
  }
  disks.sort((one, other) => one.id - other.id);
  return { disks, consistency: { level: 'offline', at, frozenMs: 0 } };
}

/** A volatile disk follows the system datastore, every other one its own TM_MAD. */
function moduleOf(vm: Vm, disk: Disk): StorageModule {
  const system = known(vm.tmMadSystem) ?? known(vm.history?.tmMad);
  const tmMad = isVolatile(disk) ? system : (known(disk.tmMad) ?? system);
  if (tmMad === undefined) {
    throw new UnsupportedError(
      `VM ${vm.id} does not say on which storage disk ${disk.id} lies (it has no TM_MAD); was it ever deployed?`,
    );
  }
  const module = modules.get(tmMad);
  if (module) return module;
  throw new UnsupportedError(
    `disk ${disk.id} of VM ${vm.id} lies on a storage that cannot be dumped: TM_MAD ${tmMad} (supported: ${[...modules.keys()].join(', ')})`,
  );
}

/** An empty element says nothing. */
function known(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
