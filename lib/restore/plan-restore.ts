// Plans a restore before anything is changed: how each disk is restored, the names, the datastores, the networks, and
// whether oned will accept it.
import type { Bundle } from '../bundle/read/bundle.ts';
import { ownAccount, type Account } from '../one/accounts.ts';
import type { Datastore } from '../one/datastores.ts';
import type { Network } from '../one/networks.ts';
import { UsageError } from '../report/errors.ts';
import { chooseDatastores } from './datastores.ts';
import { imageSizeMb, planDisks, type DiskPlan, type ImagePlan } from './image-plan.ts';
import { demandOf, requireFreeAddresses, requireQuotas } from './instantiable.ts';
import { keptImages } from './kept-images.ts';
import { defaultName, FreeNames, takenNames } from './names.ts';
import { chooseNetworks } from './networks.ts';
import { ownerFor } from './owner.ts';
import { bundleVm } from './restorable.ts';
import { stateToCarry } from './state-to-carry.ts';
import type { Run } from '../run/run.ts';
import { isCdrom, isSharedFolder, type Disk, type Vm } from '../vm/vm.ts';
import { childText } from '../xml/xml.ts';
import type { RestoreDeps, RestoreRequest } from './restore-request.ts';
import { requireDeclaredSize } from './whole-disk.ts';
import { templateMaker, type TemplateOf } from './template-maker.ts';

export interface RestorePlan {
  readonly vm: Vm;
  readonly names: FreeNames;
  readonly plans: readonly DiskPlan[];
  readonly datastores: ReadonlyMap<ImagePlan, Datastore>;
  readonly caller: Account;
  readonly owner: Account;
  /** UEFI variables to write into the folder of the new VM. */
  readonly nvram: Buffer | undefined;
  /** Undefined when only images are restored. */
  readonly templateOf: TemplateOf | undefined;
}

/**
 * Makes the plan and checks everything that oned can be asked about. Changes nothing.
 * @throws UsageError for an option that does not fit, BundleError, OpenNebulaError when oned would refuse the restore
 */
export async function planRestore(
  request: RestoreRequest,
  { run, one }: RestoreDeps,
): Promise<RestorePlan> {
  const { bundle } = request;
  const vm = bundleVm(bundle);
  const caller = await ownAccount(one);
  const owner = await ownerFor(request.owner, caller, one);
  const names = new FreeNames(
    request.name,
    defaultName(vm.id, new Date(bundle.about?.created ?? bundle.modified)),
    request.onlyDisks ?? bundle.disks.map(({ id }) => id),
    await takenNames(one, owner.id === caller.id ? undefined : [caller.id, owner.id]),
  );
  const plans = planDisks(vm, bundle, {
    volatile: request.volatile,
    only: request.onlyDisks,
    kept: request.onlyDisks ? new Map() : await keptImages(vm, bundle, one, request.instantiate),
  });
  reportDisks(plans, run);
  if (request.instantiate) requireAllDisks(plans, bundle);
  const toRegister = plans.filter(isToRegister);
  for (const plan of toRegister) await requireDeclaredSize(plan.disk, plan.source, plan.format);
  const { datastore, mapDatastores: mappings } = request;
  const datastores = await chooseDatastores(toRegister, { datastore, mappings }, one);
  if (!request.checkCapacity && !caller.isAdmin) {
    run.log.warn(
      `OpenNebula still checks the free space: only administrators may skip this check, and ${caller.name} is not one`,
    );
  }
  const sizes = await Promise.all(
    [...datastores].map(async ([plan, { id }]) => ({
      datastoreId: id,
      sizeMb: await imageSizeMb(plan),
    })),
  );
  const planned = { vm, names, plans, datastores, caller, owner };
  if (request.onlyDisks) {
    await requireQuotas(demandOf(sizes, undefined), owner, one);
    return { ...planned, nvram: undefined, templateOf: undefined };
  }
  const networks =
    request.nics === 'none'
      ? noNetworks(request)
      : await chooseNetworks(vm, request.mapNetworks, one);
  const carried = await stateToCarry(vm, bundle, run);
  const templateOf = await templateMaker(request, {
    vm,
    plans,
    networks,
    carried: carried.attributes,
    caller,
    one,
    run,
  });
  // The preview is only checked, never registered, and the checks do not depend on its name.
  const preview = request.instantiate ? templateOf('preview', new Map()) : undefined;
  await requireQuotas(demandOf(sizes, preview), owner, one);
  if (preview) requireFreeAddresses(preview, networks, vm.id);
  return { ...planned, nvram: carried.nvram, templateOf };
}

function noNetworks({ mapNetworks }: RestoreRequest): Map<number, Network> {
  if (mapNetworks.length === 0) return new Map();
  throw new UsageError('--map-network needs --restore-nics: the VM is restored without NICs');
}

export function isToRegister(plan: DiskPlan): plan is ImagePlan {
  return plan.as === 'register';
}

/** A VM that runs without one of its disks may do damage, so it is not started. @throws UsageError */
function requireAllDisks(plans: readonly DiskPlan[], { name }: Bundle): void {
  const lacking = plans.filter(
    ({ as, disk }) => as === 'absent' && !isCdrom(disk) && !isSharedFolder(disk),
  );
  if (lacking.length === 0) return;
  const ids = lacking.map(({ disk }) => disk.id).join(', ');
  throw new UsageError(
    `${name} does not hold disk ${ids}: --instantiate would make a VM without it; restore without --instantiate, and add the disk to the template first`,
  );
}

function reportDisks(plans: readonly DiskPlan[], run: Run): void {
  for (const plan of plans) {
    const { disk } = plan;
    if (isSharedFolder(disk) && plan.as === 'reuse') {
      run.log.info(
        `disk ${disk.id}: the image ${plan.imageId} of the folder that hosts share with the VM still exists and is used again; its files are not in the bundle`,
      );
    } else if (isSharedFolder(disk)) {
      run.log.warn(withoutFolder(disk));
    } else if (plan.as === 'absent' && !isCdrom(disk)) {
      run.log.warn(`disk ${disk.id}: it is not in the bundle: the template is restored without it`);
    } else if (plan.as === 'volatile' && plan.lost) {
      run.log.warn(`disk ${disk.id}: it is not in the bundle: it is restored new and empty`);
    } else if (plan.as === 'absent') {
      run.log.warn(
        `disk ${disk.id}: this CD-ROM is not in the bundle, and its image ${disk.image ?? ''} cannot be used: the VM is restored without it`,
      );
    } else if (plan.as === 'reuse') {
      run.log.info(
        `disk ${disk.id}: the CD-ROM's image ${plan.imageId} still exists and is used again`,
      );
    }
  }
}

/** Says how the folder comes back. */
function withoutFolder({ id, image, source, xml }: Disk): string {
  const parts = ['MOUNT_TAG', 'MOUNT_POINT'].flatMap((name) => {
    const value = childText(xml, name);
    return value ? [`${name} = ${JSON.stringify(value)}`] : [];
  });
  const wanted = ['IMAGE_ID = <id>', ...parts].join(', ');
  return `disk ${id}: it was the folder ${source ?? '?'} that the VM's host shared with it (FILESYSTEM), and its image ${image ?? ''} cannot be used: the template is restored without it. To share a folder again, register it as an image of TYPE FILESYSTEM, and add to the template: DISK = [ ${wanted} ]`;
}
