// Decides whether something new fits into the quotas of a user or a group, as oned would. Pure.
// Source: Quota.cc (check_quota), QuotaDatastore.cc, QuotaVirtualMachine.cc, QuotaNetwork.cc, 6.4 to 7.4.
import { child, childrenOf, childText, type XmlElement } from '../xml/xml.ts';

/** What will be added, by oned's names of the metrics. */
export interface Demand {
  /** By datastore id; SIZE in MiB. */
  readonly datastores: ReadonlyMap<number, { readonly IMAGES: number; readonly SIZE: number }>;
  /** MEMORY in MiB; undefined: no VM is made. */
  readonly vm: { readonly CPU: number; readonly MEMORY: number } | undefined;
  /** Addresses, by network id. */
  readonly leases: ReadonlyMap<number, number>;
}

/** A negative limit means the default limit, or none (Quota.h). */
const byDefault = -1;

/**
 * Returns the first quota that would be exceeded, in words; undefined if everything fits.
 * @param owner the USER or GROUP element as oned shows it
 */
export function exceededQuota(owner: XmlElement, demand: Demand): string | undefined {
  const check = (
    kind: 'DATASTORE' | 'NETWORK' | 'VM',
    id: number | undefined,
    wanted: Readonly<Record<string, number>>,
  ): string | undefined => {
    const own = quotaOf(owner, kind, id);
    const usual = quotaOf(child(owner, `DEFAULT_${owner.name}_QUOTAS`), kind, id);
    for (const [metric, more] of Object.entries(wanted)) {
      const limit = limitOf(metric, own, usual);
      const used = numberOf(own, `${metric}_USED`) ?? 0;
      if (limit === undefined || used + more <= limit) continue;
      const where = id === undefined ? '' : ` of ${kind.toLowerCase()} ${id}`;
      return `${metric}${where}: ${used} of ${limit} are used, ${more} more are needed`;
    }
    return undefined;
  };
  for (const [id, wanted] of demand.datastores) {
    const exceeded = check('DATASTORE', id, wanted);
    if (exceeded !== undefined) return exceeded;
  }
  for (const [id, leases] of demand.leases) {
    const exceeded = check('NETWORK', id, { LEASES: leases });
    if (exceeded !== undefined) return exceeded;
  }
  if (!demand.vm) return undefined;
  const { CPU, MEMORY } = demand.vm;
  const running = { RUNNING_VMS: 1, RUNNING_CPU: CPU, RUNNING_MEMORY: MEMORY };
  return check('VM', undefined, { VMS: 1, CPU, MEMORY, ...running });
}

function quotaOf(
  owner: XmlElement | undefined,
  kind: string,
  id: number | undefined,
): XmlElement | undefined {
  const all = owner && child(owner, `${kind}_QUOTA`);
  if (!all) return undefined;
  return childrenOf(all, kind).find((quota) =>
    // From 7.0 on VM quotas can be limited to some clusters, and the VM's cluster is not yet known.
    id === undefined
      ? (childText(quota, 'CLUSTER_IDS') ?? '') === ''
      : childText(quota, 'ID') === String(id),
  );
}

function limitOf(
  metric: string,
  own: XmlElement | undefined,
  usual: XmlElement | undefined,
): number | undefined {
  const given = numberOf(own, metric) ?? byDefault;
  const limit = given === byDefault ? (numberOf(usual, metric) ?? byDefault) : given;
  return limit < 0 ? undefined : limit;
}

function numberOf(quota: XmlElement | undefined, name: string): number | undefined {
  const text = (quota && childText(quota, name)) ?? '';
  const value = Number(text);
  return text.trim() === '' || Number.isNaN(value) ? undefined : value;
}
