// one.vn.*: virtual networks, their addresses, and who uses them.
import { child, childrenOf, childText, textIn, type XmlElement } from '../xml/xml.ts';
import { UsageError } from '../report/errors.ts';
import { askPool, askXml, numberIn } from './answers.ts';
import type { OneClient } from './client.ts';

export interface Network {
  readonly id: number;
  readonly name: string;
  readonly ranges: readonly AddressRange[];
}

export interface AddressRange {
  /** The first and the last address; undefined if the range has none of this kind. */
  readonly ip: readonly [first: string, last: string] | undefined;
  readonly mac: readonly [first: string, last: string] | undefined;
  /** Empty for a shared range (7.x), whose addresses several VMs may have (AddressRange::allocate_by_ip). */
  readonly leases: readonly Lease[];
}

/** An address in use. oned shows a user only addresses of objects that the user may see. */
export interface Lease {
  readonly ip: string | undefined;
  readonly ip6: string | undefined;
  readonly mac: string | undefined;
  /** Undefined: a reservation, a virtual router, or put on hold by an administrator. */
  readonly vmId: number | undefined;
}

/** @throws OpenNebulaError; code 1024 when there is none with this id, 512 when the user may not see it */
export async function getNetwork(client: OneClient, id: number): Promise<Network> {
  return toNetwork(await askXml(client, 'VNET', 'one.vn.info', id, false));
}

/** Finds a network by name or id, as the user wrote it. @throws UsageError when none or several match */
export async function findNetwork(client: OneClient, nameOrId: string): Promise<Network> {
  const pool = await askPool(client, 'VNET_POOL', 'one.vnpool.info', -2);
  const all = pool.map((xml) => ({ id: numberIn(xml, 'ID'), name: textIn(xml, 'NAME') }));
  const byName = all.filter(({ name }) => name === nameOrId);
  const [found, ...more] =
    byName.length > 0 ? byName : all.filter(({ id }) => String(id) === nameOrId);
  if (!found) throw new UsageError(`there is no network ${JSON.stringify(nameOrId)}`);
  // The pool contains neither the last addresses of ranges nor their leases.
  if (more.length === 0) return getNetwork(client, found.id);
  const ids = byName.map(({ id }) => id).join(', ');
  throw new UsageError(`several networks are named ${nameOrId} (${ids}); give the id`);
}

function toNetwork(xml: XmlElement): Network {
  const pool = child(xml, 'AR_POOL');
  return {
    id: numberIn(xml, 'ID'),
    name: textIn(xml, 'NAME'),
    ranges: pool ? childrenOf(pool, 'AR').map(toRange) : [],
  };
}

function toRange(xml: XmlElement): AddressRange {
  const isShared = childText(xml, 'SHARED') === 'YES';
  const leases = isShared ? undefined : child(xml, 'LEASES');
  return {
    ip: pair(xml, 'IP'),
    mac: pair(xml, 'MAC'),
    leases: leases ? childrenOf(leases, 'LEASE').map(toLease) : [],
  };
}

function toLease(xml: XmlElement): Lease {
  const vm = childText(xml, 'VM') ?? '';
  return {
    ip: childText(xml, 'IP'),
    ip6: childText(xml, 'IP6'),
    mac: childText(xml, 'MAC'),
    vmId: /^\d{1,9}$/.test(vm) ? Number(vm) : undefined,
  };
}

function pair(xml: XmlElement, name: string): readonly [string, string] | undefined {
  const [first, last] = [textIn(xml, name), textIn(xml, `${name}_END`)];
  return first === '' || last === '' ? undefined : [first, last];
}
