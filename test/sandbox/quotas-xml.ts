// The quotas in a user's XML: limits, -1 for the default's, and what is used.
// Source: Quotas::to_xml, Quota::check_quota; the answer of one.user.info of 6.10.5.
import type { Quotas } from './quotas.ts';
import { usageOf } from './quotas.ts';
import { cdata } from './template.ts';
import type { User } from './users.ts';
import type { World } from './world.ts';

type Numbers = Readonly<Record<string, number | undefined>>;

/** One quota: its id, then by name each limit and what is used of it. */
function quotaXml(
  kind: string,
  metrics: readonly string[],
  { id, limits, used }: { id?: number; limits: Numbers | undefined; used: Numbers },
): string {
  const values = metrics.flatMap((metric) => {
    const limit = cdata(String(limits?.[metric] ?? -1));
    const taken = cdata(String(used[metric] ?? 0));
    return `<${metric}>${limit}</${metric}><${metric}_USED>${taken}</${metric}_USED>`;
  });
  const own = id === undefined ? '' : `<ID>${cdata(String(id))}</ID>`;
  return `<${kind}>${own}${values.join('')}</${kind}>`;
}

const vmMetrics = [
  ...['CPU', 'MEMORY', 'RUNNING_CPU', 'RUNNING_MEMORY', 'RUNNING_VMS', 'SYSTEM_DISK_SIZE', 'VMS'],
];

/** Every id that has a limit or a use. */
function ids(limits: object | undefined, used: ReadonlyMap<number, unknown>): readonly number[] {
  const all = new Set([...Object.keys(limits ?? {}).map(Number), ...used.keys()]);
  return [...all].sort((a, b) => a - b);
}

/** DATASTORE_QUOTA, NETWORK_QUOTA, VM_QUOTA and IMAGE_QUOTA. oneadmin has none. */
export function quotasXml(world: World, user: User): string {
  const quotas: Quotas = user.id === 0 ? {} : (user.quotas ?? {});
  const used = usageOf(world, user.id === 0 ? -1 : user.id);
  const datastores = ids(quotas.datastore, used.datastore).map((id) => {
    const one = { id, limits: quotas.datastore?.[id], used: { ...used.datastore.get(id) } };
    return quotaXml('DATASTORE', ['IMAGES', 'SIZE'], one);
  });
  const networks = ids(quotas.network, used.network).map((id) => {
    const one = { id, limits: quotas.network?.[id], used: { LEASES: used.network.get(id) } };
    return quotaXml('NETWORK', ['LEASES'], one);
  });
  const images = ids(quotas.image, used.image).map((id) => {
    const one = { id, limits: quotas.image?.[id], used: { RVMS: used.image.get(id) } };
    return quotaXml('IMAGE', ['RVMS'], one);
  });
  const has = quotas.vm !== undefined || used.vm['VMS'] !== undefined;
  const vms = has ? quotaXml('VM', vmMetrics, { limits: quotas.vm, used: used.vm }) : '';
  return (
    `<DATASTORE_QUOTA>${datastores.join('')}</DATASTORE_QUOTA>` +
    `<NETWORK_QUOTA>${networks.join('')}</NETWORK_QUOTA><VM_QUOTA>${vms}</VM_QUOTA>` +
    `<IMAGE_QUOTA>${images.join('')}</IMAGE_QUOTA>`
  );
}
