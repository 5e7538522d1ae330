// The whole restore, from the opened bundle to the registered template and VM, from top to bottom; the command and the
// backup datastore's `restore` both take this way. Everything that oned could refuse is asked before any data moves.
// What is made in OpenNebula is in the journal first; withRun undoes it when the restore fails.
import type { Bundle } from './bundle/bundle.ts';
import type { XmlElement } from './input/xml.ts';
import { parseVm } from './input/vm-xml.ts';
import { ownAccount, type Account } from './one/accounts.ts';
import type { OneClient } from './one/client.ts';
import type { Datastore } from './one/datastores.ts';
import { imagesAt, skipCapacityFlag } from './one/images.ts';
import type { Network } from './one/networks.ts';
import { getOwnership, type OwnedKind, type Ownership } from './one/ownership.ts';
import { oneVersion } from './one/system.ts';
import { restrictedAttributes } from './one/restricted-attributes.ts';
import { BundleError, UsageError } from './report/errors.ts';
import { existingCdroms } from './restore/cdroms.ts';
import { chooseDatastores } from './restore/datastores.ts';
import type { Delivery } from './restore/delivery.ts';
import {
  imageSizeMb,
  isKnownToLack,
  planDisks,
  type DiskPlan,
  type ImagePlan,
} from './restore/image-plan.ts';
import { demandOf, requireFreeAddresses, requireQuotas } from './restore/instantiable.ts';
import { makeVm } from './restore/make-vm.ts';
import type { Mapping } from './restore/mapping.ts';
import { defaultName, FreeNames, takenNames } from './restore/names.ts';
import { chooseNetworks } from './restore/networks.ts';
import { giveTo, ownerFor } from './restore/owner.ts';
import { nvramInPlace } from './restore/nvram-in-place.ts';
import { registerImages, type RestoredImage } from './restore/register-images.ts';
import { pendingImageId, reserveTemplate } from './restore/reserved-template.ts';
import { stateToCarry } from './restore/state-to-carry.ts';
import type { JournalEntry } from './run/journal.ts';
import type { Run } from './run/run.ts';
import { fileSources } from './vm/restored-context.ts';
import { restoredTemplate, type RestoredDisk } from './vm/restored-template.ts';
import { isCdrom, isSharedFolder, type Vm } from './vm/vm.ts';

export interface RestoreRequest {
  readonly bundle: Bundle;
  /** Name of the template and base of the image names; by default made from VM id and time. */
  readonly name: string | undefined;
  readonly instantiate: boolean;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** The datastore for all images: its id (a number), or its name or id as the user wrote it. */
  readonly datastore: string | number | undefined;
  /** Datastores and networks to use instead of those that the bundle names. */
  readonly mapDatastores: readonly Mapping[];
  readonly mapNetworks: readonly Mapping[];
  /** Register only the images of these disks, and no template. */
  readonly onlyDisks: readonly number[] | undefined;
  readonly volatile: 'image' | 'fresh';
  /** Leave out attributes that reach the host, such as RAW. */
  readonly noHostAttributes: boolean;
  /** `USER[:GROUP]` whom everything is given to; undefined: it stays the caller's. */
  readonly owner: string | undefined;
  /** Whether oned compares sizes, holes included, with what the datastore has free. */
  readonly checkCapacity: boolean;
  /** How long one image may take to become READY. */
  readonly imageTimeoutMs: number;
}

export interface RestoreMeans {
  readonly run: Run;
  /** The client of the user who restores. */
  readonly one: OneClient;
  readonly delivery: Delivery;
}

/** What --json prints. */
export interface RestoreReport {
  readonly name: string;
  readonly templateId: number | null;
  readonly vmId: number | null;
  readonly images: readonly RestoredImage[];
  /** DISK_IDs of disks that the bundle does not hold and the template therefore lacks. */
  readonly missing: readonly number[];
  /** Of all of these; null when there are none. */
  readonly owner: Ownership | null;
  readonly seconds: number;
}

/**
 * Restores one bundle into OpenNebula.
 * @throws an OnevmdumpError of any kind; what this run had registered is deleted again then.
 */
export async function restoreVm(
  request: RestoreRequest,
  means: RestoreMeans,
): Promise<RestoreReport> {
  const { run, one, delivery } = means;
  const started = new Date();
  await delivery.check();
  const plan = await planRestore(request, means);
  const { vm, names, plans, datastores, owner, caller, templateOf } = plan;

  const made: JournalEntry[] = [];
  const reservation = templateOf && (await reserveTemplate({ run, one, names, templateOf, made }));
  const name = reservation?.name ?? names.next();
  const toRegister = plans.filter(isToRegister);
  let images: RestoredImage[];
  try {
    images = await registerImages(toRegister, {
      ...{ run, one, delivery, name, datastores, made },
      capacityFlag: request.checkCapacity ? undefined : skipCapacityFlag(await oneVersion(one)),
      imageTimeoutMs: request.imageTimeoutMs,
    });
  } finally {
    await delivery.close();
  }
  const objects: { kind: OwnedKind; id: number }[] = images.map(({ imageId }) => ({
    kind: 'image',
    id: imageId,
  }));
  if (reservation) {
    const ids = new Map(images.map(({ diskId, imageId }) => [diskId, imageId]));
    await reservation.complete(ids);
    objects.unshift({ kind: 'template', id: reservation.templateId });
  }
  if (owner !== caller) await giveTo(owner, objects, one);
  const first = objects[0];
  const ownership = first ? await getOwnership(one, first.kind, first.id) : null;
  let vmId: number | null = null;
  if (reservation && request.instantiate) {
    const steps =
      owner === caller ? [] : [(id: number) => giveTo(owner, [{ kind: 'vm', id }], one)];
    vmId = await makeVm(reservation, { run, one, steps, made });
    if (plan.nvram) await nvramInPlace(vmId, plan.nvram, { run, one });
  }
  // What was made stays: it is no longer undone.
  for (const entry of made) await entry.done();
  if (ownership) tellOwner(ownership, vm, run);
  const templateId = reservation?.templateId ?? null;
  const seconds = (Date.now() - started.getTime()) / 1000;
  const missing = plans.flatMap(({ as, disk }) => (as === 'absent' ? [disk.id] : []));
  return { name, templateId, vmId, images, missing, owner: ownership, seconds };
}

interface RestorePlan {
  readonly vm: Vm;
  readonly names: FreeNames;
  readonly plans: readonly DiskPlan[];
  readonly datastores: ReadonlyMap<ImagePlan, Datastore>;
  readonly caller: Account;
  readonly owner: Account;
  /** UEFI variables to put into the folder of the new VM. */
  readonly nvram: Buffer | undefined;
  /** The template under this name, with these images by disk id; undefined when only images are restored. */
  readonly templateOf:
    ((name: string, images: ReadonlyMap<number, number>) => XmlElement) | undefined;
}

/** Asks oned all that can be asked, and changes nothing. */
async function planRestore(
  request: RestoreRequest,
  { run, one, delivery }: RestoreMeans,
): Promise<RestorePlan> {
  const { bundle } = request;
  const vm = parseVm(bundle.vmXml);
  if (bundle.manifest && bundle.manifest.vm.id !== vm.id) {
    throw new BundleError(
      `${bundle.name}: its manifest is of VM ${bundle.manifest.vm.id}, its vm.xml of VM ${vm.id}`,
    );
  }
  const caller = await ownAccount(one);
  const owner = await ownerFor(request.owner, caller, one);
  const names = new FreeNames(
    request.name,
    defaultName(vm.id, new Date(bundle.manifest?.created ?? bundle.modified)),
    request.onlyDisks ?? bundle.disks.map(({ id }) => id),
    await takenNames(one, owner.id === caller.id ? undefined : [caller.id, owner.id]),
  );
  const plans = planDisks(vm, bundle, {
    volatile: request.volatile,
    only: request.onlyDisks,
    cdroms: request.onlyDisks ? new Map() : await existingCdroms(vm, bundle, one),
  });
  tellOfDisks(plans, bundle, run);
  if (request.instantiate) requireAllDisks(plans, bundle);
  const toRegister = plans.filter(isToRegister);
  const { datastore, mapDatastores: mappings } = request;
  const datastores = await chooseDatastores(toRegister, { datastore, mappings }, one);
  for (const target of new Set(datastores.values())) delivery.requireAcceptedBy(target);
  if (!request.checkCapacity && !caller.isAdmin) {
    run.log.warn(
      `OpenNebula lets only administrators skip its check of free space, and ${caller.name} is not one: it is made all the same`,
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
  // Not a name that is used: what is asked here does not depend on it.
  const preview = request.instantiate ? templateOf('preview', new Map()) : undefined;
  await requireQuotas(demandOf(sizes, preview), owner, one);
  if (preview) requireFreeAddresses(preview, networks, vm.id);
  return { ...planned, nvram: carried.nvram, templateOf };
}

function noNetworks({ mapNetworks }: RestoreRequest): Map<number, Network> {
  if (mapNetworks.length === 0) return new Map();
  throw new UsageError('--map-network needs --restore-nics: the VM comes back without NICs');
}

/** Makes templates that differ in their name and their images only; what has to be known of them is told once. */
async function templateMaker(
  request: RestoreRequest,
  means: {
    readonly vm: Vm;
    readonly plans: readonly DiskPlan[];
    readonly networks: ReadonlyMap<number, Network>;
    /** Attributes that carry UEFI variables and the state of a vTPM. */
    readonly carried: readonly XmlElement[];
    readonly caller: Account;
    readonly one: OneClient;
    readonly run: Run;
  },
): Promise<NonNullable<RestorePlan['templateOf']>> {
  const { vm, plans, networks, carried, caller, one, run } = means;
  const now = new Date();
  const options = {
    nics: request.nics,
    now,
    networks: new Map([...networks].map(([old, { id }]) => [old, id])),
    restricted: caller.isAdmin ? undefined : await restrictedAttributes(one),
    noHostAttributes: request.noHostAttributes,
    files: await imagesAt(one, fileSources(vm)),
  };
  let told = false;
  return (name, images) => {
    const disks = plans.flatMap((plan): RestoredDisk[] => {
      const { disk } = plan;
      if (plan.as === 'absent') return [];
      if (plan.as === 'volatile') return [{ disk, as: 'volatile' }];
      const imageId =
        plan.as === 'reuse' ? plan.imageId : (images.get(disk.id) ?? pendingImageId(disk.id));
      return [{ disk, as: 'image', imageId }];
    });
    const { xml, warnings } = restoredTemplate(vm, { ...options, name, disks });
    if (!told) for (const warning of warnings) run.log.warn(warning);
    told = true;
    return { ...xml, children: [...xml.children, ...carried] };
  };
}

function isToRegister(plan: DiskPlan): plan is ImagePlan {
  return plan.as === 'register';
}

/** A VM without one of its disks would run, and do the wrong thing. @throws UsageError */
function requireAllDisks(plans: readonly DiskPlan[], { name }: Bundle): void {
  const lacking = plans.filter(
    ({ as, disk }) => as === 'absent' && !isCdrom(disk) && !isSharedFolder(disk),
  );
  if (lacking.length === 0) return;
  const ids = lacking.map(({ disk }) => disk.id).join(', ');
  throw new UsageError(
    `${name} does not hold disk ${ids}: --instantiate would make a VM without it; restore the template and complete it first`,
  );
}

function tellOfDisks(plans: readonly DiskPlan[], bundle: Bundle, run: Run): void {
  const held = new Set(bundle.disks.map(({ id }) => id));
  for (const plan of plans) {
    const { disk } = plan;
    if (isSharedFolder(disk)) {
      run.log.warn(
        `disk ${disk.id}: it was a folder that the VM's host shared with it (FILESYSTEM): the template comes back without it`,
      );
    } else if (plan.as === 'absent' && !isCdrom(disk)) {
      run.log.warn(
        `disk ${disk.id}: the bundle does not hold it: the template comes back without it`,
      );
    } else if (plan.as === 'volatile' && !held.has(disk.id) && isKnownToLack(bundle, disk)) {
      run.log.warn(`disk ${disk.id}: the bundle does not hold it: it comes back new and empty`);
    } else if (plan.as === 'absent') {
      run.log.warn(
        `disk ${disk.id}: the bundle does not hold this CD-ROM, and its image ${disk.image ?? ''} cannot be used: the VM comes back without it`,
      );
    } else if (plan.as === 'reuse') {
      run.log.info(
        `disk ${disk.id}: the CD-ROM's image ${plan.imageId} still exists and is used again`,
      );
    }
  }
}

/** Owner, group and permissions of the old VM are not taken over: they may mean somebody else here. */
function tellOwner({ user, group, permissions }: Ownership, vm: Vm, run: Run): void {
  const old =
    vm.uname === undefined ? '' : `; the VM in the bundle was ${vm.uname}:${vm.gname ?? ''}`;
  run.log.info(`everything restored belongs to ${user}:${group} (${permissions})${old}`);
}
