// Quotas of users. What is used is counted from the objects that exist, so nothing has to be given back.
// Source: Quota::check_quota, QuotaDatastore.cc, QuotaNetwork.cc, QuotaVirtualMachine.cc, QuotaImage.cc,
// Request::quota_authorization, VirtualMachineDisk::system_ds_size, read in 6.4.7, 6.10.5 and 7.4.0.
import { unauthorized } from './failure.ts';
import { leasingNics } from './networks.ts';
import type { Template, Vector } from './template.ts';
import { isVolatile } from './vm-disks.ts';
import { vmState } from './vm.ts';
import type { Vm } from './vm.ts';
import type { User } from './users.ts';
import type { World } from './world.ts';

type Limits<Metric extends string> = Readonly<Partial<Record<Metric, number>>>;

type VmMetric =
  'VMS' | 'RUNNING_VMS' | 'CPU' | 'RUNNING_CPU' | 'MEMORY' | 'RUNNING_MEMORY' | 'SYSTEM_DISK_SIZE';

/** The limits of one user; what is not named is unlimited. Sizes and MEMORY in MiB; keys are ids. */
export interface Quotas {
  readonly vm?: Limits<VmMetric>;
  readonly datastore?: Readonly<Record<number, Limits<'SIZE' | 'IMAGES'>>>;
  readonly network?: Readonly<Record<number, Limits<'LEASES'>>>;
  readonly image?: Readonly<Record<number, Limits<'RVMS'>>>;
}

interface Check {
  readonly kind: 'VM' | 'DATASTORE' | 'NETWORK' | 'IMAGE';
  readonly id?: number;
  readonly limits: Readonly<Record<string, number | undefined>> | undefined;
  readonly used: Readonly<Record<string, number>>;
  readonly wanted: Readonly<Record<string, number>>;
}

/** The order in which oned looks at what a quota limits. */
const metrics = [
  ...['SIZE', 'IMAGES', 'LEASES', 'RVMS', 'VMS', 'RUNNING_VMS', 'CPU', 'RUNNING_CPU', 'MEMORY'],
  ...['RUNNING_MEMORY', 'SYSTEM_DISK_SIZE'],
];

function check(user: User, { kind, id, limits, used, wanted }: Check): void {
  for (const metric of metrics) {
    const limit = limits?.[metric];
    if (limit === undefined || wanted[metric] === undefined) continue;
    if ((used[metric] ?? 0) + wanted[metric] <= limit) continue;
    const which = id === undefined ? '' : ` with ID: ${id}`;
    throw unauthorized(
      user.id,
      `user [${user.id}] limit of ${limit} reached for ${metric} quota in ${kind}${which}`,
    );
  }
}

/** What a user has, as the quotas count it; keys are ids. */
export interface Usage {
  readonly datastore: ReadonlyMap<number, { readonly IMAGES: number; readonly SIZE: number }>;
  readonly network: ReadonlyMap<number, number>;
  readonly vm: Readonly<Record<string, number>>;
  readonly image: ReadonlyMap<number, number>;
}

export function usageOf(world: World, uid: number): Usage {
  const datastore = new Map<number, { IMAGES: number; SIZE: number }>();
  for (const image of world.images.values()) {
    if (image.uid !== uid) continue;
    const before = datastore.get(image.datastoreId) ?? { IMAGES: 0, SIZE: 0 };
    const after = { IMAGES: before.IMAGES + 1, SIZE: before.SIZE + image.sizeMb };
    datastore.set(image.datastoreId, after);
  }
  const own = [...world.vms.values()].filter(
    (vm) => vm.uid === uid && vm.state !== vmState.done[0],
  );
  const counted = own.map((vm) => {
    const all = Object.entries(vmUsage(world, vm.template));
    return Object.fromEntries(
      all.filter(([name]) => isRunning(vm) || !name.startsWith('RUNNING_')),
    );
  });
  const nics = own.flatMap((vm) => leasingNics(vm.template));
  const disks = own.flatMap((vm) => vm.template.vectors('DISK'));
  return {
    datastore,
    network: counts(nics, 'NETWORK_ID'),
    vm: addUp(counted),
    image: counts(disks, 'IMAGE_ID'),
  };
}

/** @param sizeMb of the new image @throws Failure 512 in oned's words. */
export function requireImageQuota(
  world: World,
  user: User,
  { datastoreId, sizeMb }: { readonly datastoreId: number; readonly sizeMb: number },
): void {
  if (user.id === 0) return;
  check(user, {
    kind: 'DATASTORE',
    id: datastoreId,
    limits: user.quotas?.datastore?.[datastoreId],
    used: { ...usageOf(world, user.id).datastore.get(datastoreId) },
    wanted: { IMAGES: 1, SIZE: sizeMb },
  });
}

/** What a disk takes on the system datastore: all of a volatile one, and copies that are made there. */
function systemSize(world: World, disk: Vector): number {
  const image = world.images.get(Number(disk.get('IMAGE_ID') ?? NaN));
  const size = Number(disk.get('SIZE') ?? image?.sizeMb ?? 0);
  if (!image) return isVolatile(disk) ? size : 0;
  const name = image.persistent ? 'LN_TARGET' : 'CLONE_TARGET';
  const stored = world.datastores.get(image.datastoreId)?.template.get(name);
  return (disk.get(name) ?? stored) === 'SYSTEM' ? size : 0;
}

function vmUsage(world: World, template: Template): Readonly<Record<string, number>> {
  const [cpu, memory] = [Number(template.get('CPU')), Number(template.get('MEMORY'))];
  const disks = template.vectors('DISK');
  return {
    ...{ VMS: 1, RUNNING_VMS: 1, CPU: cpu, RUNNING_CPU: cpu },
    ...{ MEMORY: memory, RUNNING_MEMORY: memory },
    SYSTEM_DISK_SIZE: disks.reduce((sum, disk) => sum + systemSize(world, disk), 0),
  };
}

/** VirtualMachine::is_running_quota: a VM on hold counts, one that is off, stopped or undeployed does not. */
function isRunning({ state }: Vm): boolean {
  const { pending, hold, running, cloning } = vmState;
  return [pending, hold, running, cloning].some(([counted]) => counted === state);
}

function addUp(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const one of all) {
    for (const [name, value] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + value;
  }
  return sum;
}

/** How often each id stands in the vectors. */
function counts(vectors: readonly Vector[], name: string): Map<number, number> {
  const counted = new Map<number, number>();
  for (const vector of vectors) {
    const id = vector.get(name);
    if (id) counted.set(Number(id), (counted.get(Number(id)) ?? 0) + 1);
  }
  return counted;
}

/**
 * Leases, then what the VM takes, then the use of its images.
 * @param template with the ids of networks and images
 * @throws Failure 512 in oned's words.
 */
export function requireVmQuota(world: World, user: User, template: Template): void {
  if (user.id === 0) return;
  const used = usageOf(world, user.id);
  for (const [id, wanted] of counts(leasingNics(template), 'NETWORK_ID')) {
    check(user, {
      kind: 'NETWORK',
      id,
      limits: user.quotas?.network?.[id],
      used: { LEASES: used.network.get(id) ?? 0 },
      wanted: { LEASES: wanted },
    });
  }
  const wanted = vmUsage(world, template);
  check(user, { kind: 'VM', limits: user.quotas?.vm, used: used.vm, wanted });
  for (const [id, more] of counts(template.vectors('DISK'), 'IMAGE_ID')) {
    check(user, {
      kind: 'IMAGE',
      id,
      limits: user.quotas?.image?.[id],
      used: { RVMS: used.image.get(id) ?? 0 },
      wanted: { RVMS: more },
    });
  }
}
