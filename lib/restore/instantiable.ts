// Checks before any data moves whether oned would instantiate the template: whether its addresses are free and whether
// the quotas allow it, as far as this user may see them.
import { child, childText, type XmlElement } from '../xml/xml.ts';
import { getGroup, type Account } from '../one/accounts.ts';
import type { OneClient } from '../one/client.ts';
import type { AddressRange, Network } from '../one/networks.ts';
import { exceededQuota, type Demand } from '../one/quotas.ts';
import { OpenNebulaError } from '../report/errors.ts';
import { networkIdOf, nicsOf } from './networks.ts';
import { isRefusal } from '../one/answers.ts';

/** oned's own user and group have no quotas (Request.cc, quota_authorization). */
const withoutQuotas = 0;

export const addressAdvice =
  'terminate the VM that has it, or restore with --no-ip for new addresses';

/**
 * @param template the template that would be instantiated
 * @param oldVmId the VM in the bundle, which may still exist
 * @throws OpenNebulaError when an address is in use, or is not in its network
 */
export function requireFreeAddresses(
  template: XmlElement,
  networks: ReadonlyMap<number, Network>,
  oldVmId: number,
): void {
  const byId = new Map([...networks.values()].map((network) => [network.id, network]));
  for (const nic of nicsOf(template)) {
    const network = byId.get(networkIdOf(nic) ?? -1);
    if (!network) continue;
    for (const kind of ['IP', 'IP6', 'MAC'] as const) {
      const address = childText(nic, kind);
      if (address !== undefined && address !== '') requireFree(kind, address, network, oldVmId);
    }
  }
}

function requireFree(
  kind: 'IP' | 'IP6' | 'MAC',
  address: string,
  network: Network,
  oldVmId: number,
): void {
  const key = ({ IP: 'ip', IP6: 'ip6', MAC: 'mac' } as const)[kind];
  const where = `of network ${network.name} (${network.id})`;
  for (const { leases } of network.ranges) {
    const lease = leases.find(
      (candidate) => candidate[key]?.toLowerCase() === address.toLowerCase(),
    );
    if (!lease) continue;
    const who =
      lease.vmId === undefined
        ? 'is in use'
        : `is still used by VM ${lease.vmId}${lease.vmId === oldVmId ? ', the VM in the bundle' : ''}`;
    throw new OpenNebulaError(`the address ${address} ${where} ${who}: ${addressAdvice}`);
  }
  // oned makes IPv6 addresses from a range in several ways, so whether one is in the range is left to oned.
  if (kind === 'IP6' || network.ranges.some((range) => holds(range, key, address))) return;
  throw new OpenNebulaError(
    `the address ${address} is not one ${where}: restore with --no-ip for new addresses`,
  );
}

function holds(range: AddressRange, kind: 'ip' | 'ip6' | 'mac', address: string): boolean {
  const ends = kind === 'ip6' ? undefined : range[kind];
  if (!ends) return false;
  const [first, last, value] = [...ends, address].map((text) =>
    text
      .split(kind === 'ip' ? '.' : ':')
      .reduce((sum, part) => sum * 256 + parseInt(part, kind === 'ip' ? 10 : 16), 0),
  );
  // oned decides about text that is not an address.
  if (first === undefined || last === undefined || value === undefined) return true;
  return !(value < first || value > last);
}

/**
 * What a restore uses of the quotas.
 * @param sizes MiB of each new image, with its datastore
 * @param template the template to instantiate; undefined: no VM is made
 */
export function demandOf(
  sizes: readonly { readonly datastoreId: number; readonly sizeMb: number }[],
  template: XmlElement | undefined,
): Demand {
  const datastores = new Map<number, { IMAGES: number; SIZE: number }>();
  for (const { datastoreId, sizeMb } of sizes) {
    const before = datastores.get(datastoreId) ?? { IMAGES: 0, SIZE: 0 };
    datastores.set(datastoreId, { IMAGES: before.IMAGES + 1, SIZE: before.SIZE + sizeMb });
  }
  const leases = new Map<number, number>();
  for (const nic of template ? nicsOf(template) : []) {
    const id = networkIdOf(nic);
    if (id !== undefined) leases.set(id, (leases.get(id) ?? 0) + 1);
  }
  const number = (name: string): number =>
    Number((template && child(template, name)?.text) ?? 0) || 0;
  return {
    datastores,
    leases,
    vm: template && { CPU: number('CPU'), MEMORY: number('MEMORY') },
  };
}

/**
 * @param account the owner of the new objects
 * @throws OpenNebulaError that names the quota that would be exceeded
 */
export async function requireQuotas(
  demand: Demand,
  account: Account,
  one: OneClient,
): Promise<void> {
  const refuse = (owner: string, exceeded: string | undefined): void => {
    if (exceeded === undefined) return;
    throw new OpenNebulaError(`the quota of ${owner} does not allow this restore: ${exceeded}`);
  };
  const { id, name, group, xml } = account;
  if (id !== withoutQuotas) refuse(`user ${name}`, exceededQuota(xml, demand));
  if (group.id === withoutQuotas) return;
  const shown = await getGroup(one, group.id).catch((error: unknown) => {
    // This user may not see the group; oned checks its quota itself.
    if (isRefusal(error)) return undefined;
    throw error;
  });
  refuse(`group ${group.name}`, shown && exceededQuota(shown, demand));
}
