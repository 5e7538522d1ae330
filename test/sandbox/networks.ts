// Virtual networks and the leases that VMs hold in them. net1 is the recorded installation's; tests add others.
// Source: VirtualNetwork.cc (nic_attribute, to_xml_extended), AddressRangePool.cc, AddressRange.cc, read in 6.4.7,
// 6.10.5 and 7.4.0.
import { randomBytes } from 'node:crypto';
import { addressesOf, heldIndex, indexOf } from './address-ranges.ts';
import type { AddressRange } from './address-ranges.ts';
import { noSuch } from './failure.ts';
import { inheritedNetworkAttributes } from './oned-conf.ts';
import { cdata, Template } from './template.ts';
import type { Vector } from './template.ts';
import { identityXml, permissionsXml } from './users.ts';
import type { Owned } from './users.ts';
import { vmState } from './vm.ts';
import { VmError } from './vm-error.ts';
import type { Handler, MethodTable, World } from './world.ts';

export interface Network extends Owned {
  readonly bridge: string;
  readonly bridgeType: string;
  readonly vnMad: string;
  readonly phydev?: string;
  readonly vlanId?: string;
  /** Ids of the security groups that every NIC gets. */
  readonly securityGroups: readonly number[];
  readonly template: Template;
  readonly ranges: readonly AddressRange[];
}

/** What a test says about a network of its own. */
export interface NewNetwork {
  readonly name: string;
  readonly ranges: readonly AddressRange[];
  readonly vlanId?: string;
  readonly phydev?: string;
  /** Attributes of its template, such as FILTER_IP_SPOOFING or GATEWAY. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export function newNetwork(id: number, wanted: NewNetwork): Network {
  const template = new Template();
  for (const [name, value] of Object.entries(wanted.attributes ?? {})) template.add(name, value);
  return {
    ...{ uid: 0, gid: 0, uname: 'oneadmin', gname: 'oneadmin', permissions: '110000000' },
    ...{ id, name: wanted.name, bridge: id === 0 ? 'br-lab' : `onebr${id}` },
    ...{ bridgeType: 'linux', vnMad: 'dummy', securityGroups: [0] },
    ...(wanted.vlanId === undefined ? {} : { vlanId: wanted.vlanId }),
    ...(wanted.phydev === undefined ? {} : { phydev: wanted.phydev }),
    template,
    ranges: wanted.ranges,
  };
}

/** The network of the recorded installation. */
export function recordedNetwork(): Network {
  return newNetwork(0, {
    name: 'net1',
    ranges: [{ id: 0, type: 'IP4', ip: '10.9.0.10', size: 100 }],
  });
}

/** The NICs of a template that have leases: NIC, NIC_ALIAS and PCI of TYPE NIC. */
export function leasingNics(template: Template): Vector[] {
  const passedThrough = template.vectors('PCI').filter((pci) => pci.get('TYPE') === 'NIC');
  return [...template.vectors('NIC'), ...template.vectors('NIC_ALIAS'), ...passedThrough];
}

/** Index and VM of every lease in a range. A VM holds its leases until it is DONE. */
function leases(world: World, network: Network, range: AddressRange): Map<number, number> {
  const held = new Map<number, number>();
  for (const vm of world.vms.values()) {
    if (vm.state === vmState.done[0]) continue;
    for (const nic of leasingNics(vm.template)) {
      const index = heldIndex(range, nic);
      const here = nic.get('NETWORK_ID') === String(network.id);
      if (here && index !== undefined) held.set(index, vm.id);
    }
  }
  return held;
}

/** Takes over what the network hands down and the NIC does not have. */
function inherit(world: World, nic: Vector, from: (name: string) => string | undefined): void {
  for (const name of inheritedNetworkAttributes(world.settings.release)) {
    const value = from(name);
    if (!nic.get(name) && value) nic.set(name, value);
  }
}

function firstFree(range: AddressRange, isFree: (index: number) => boolean): number | undefined {
  for (let index = 0; index < range.size; index += 1) if (isFree(index)) return index;
  return undefined;
}

const addressKinds = ['IP', 'IP6', 'MAC'] as const;

/**
 * Gives a NIC its address and what it takes over from the network. oned takes one of IP, IP6 and MAC.
 * @param reserved addresses of this VM's other NICs
 * @throws VmError when the address is not free or not of this network.
 */
export function lease(
  world: World,
  network: Network,
  nic: Vector,
  reserved: ReadonlySet<string>,
): void {
  const refused = new VmError(`Cannot get IP/MAC lease from virtual network ${network.id}.`);
  const given = addressKinds.filter((kind) => nic.get(kind));
  if (given.length > 1) throw refused;
  const [kind] = given;
  for (const range of network.ranges) {
    const held = leases(world, network, range);
    // A shared range (7.x) gives the address that a NIC asks for, taken or not, and a random MAC with it.
    const shared = range.attributes?.['SHARED'] === 'YES';
    if (shared && kind !== 'IP' && kind !== 'IP6') continue;
    const isFree = (index: number): boolean =>
      shared || (!held.has(index) && !reserved.has(leaseName(network, range, index)));
    const index =
      kind === undefined ? firstFree(range, isFree) : indexOf(range, kind, nic.get(kind) ?? '');
    if (index === undefined || !isFree(index)) continue;
    for (const [key, value] of Object.entries(addressesOf(range, index))) nic.set(key, value);
    if (shared) {
      nic.set('MAC', ['02', '00', ...randomBytes(4).toString('hex').match(/../g)!].join(':'));
      nic.set('SHARED', 'YES');
    }
    nic.set('AR_ID', String(range.id));
    for (const name of ['VN_MAD', 'BRIDGE', 'PHYDEV', 'VLAN_ID']) {
      const value = range.attributes?.[name];
      if (value) nic.set(name, value);
    }
    inherit(world, nic, (name) => range.attributes?.[name]);
    inherit(world, nic, (name) => network.template.get(name));
    return;
  }
  throw refused;
}

function leaseName(network: Network, range: AddressRange, index: number): string {
  return `${network.id}/${range.id}/${index}`;
}

/** The lease that a NIC holds, as `lease` names reserved ones. */
export function heldLease(network: Network, nic: Vector): string | undefined {
  const range = network.ranges.find(({ id }) => String(id) === nic.get('AR_ID'));
  const index = range && heldIndex(range, nic);
  return index === undefined ? undefined : leaseName(network, range!, index);
}

/** What marks a lease of a VM in ALLOCATED, besides its id (PoolObjectSQL::ObjectType). */
const leaseOfVm = 2n ** 36n;

/** As one.vnpool.info shows it, which is how oned stores it: neither ends of ranges nor who holds what can be read there. */
function storedRangeXml(world: World, network: Network, range: AddressRange): string {
  const held = [...leases(world, network, range)].sort(([a], [b]) => a - b);
  const allocated = held.map(([index, vm]) => ` ${index} ${leaseOfVm + BigInt(vm)}`).join('');
  const own = { ...ownAttributes(range), ALLOCATED: allocated };
  return `<AR>${inside(own)}</AR>`;
}

function ownAttributes(range: AddressRange): Readonly<Record<string, string>> {
  const { id, size, type } = range;
  return {
    ...{ ...range.attributes, ...addressesOf(range, 0) },
    ...{ AR_ID: String(id), SIZE: String(size), TYPE: type },
  };
}

function inside(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `<${name}>${cdata(value)}</${name}>`)
    .join('');
}

function rangeXml(world: World, network: Network, range: AddressRange): string {
  const { size } = range;
  const end = addressesOf(range, size - 1);
  const held = [...leases(world, network, range)].sort(([a], [b]) => a - b);
  const list = held.map(
    ([index, vm]) => `<LEASE>${inside({ ...addressesOf(range, index), VM: String(vm) })}</LEASE>`,
  );
  const ipEnd = end['IP'] === undefined ? '' : `<IP_END>${cdata(end['IP'])}</IP_END>`;
  return (
    `<AR>${inside(ownAttributes(range))}<MAC_END>${cdata(end['MAC'] ?? '')}</MAC_END>${ipEnd}` +
    `<USED_LEASES>${held.length}</USED_LEASES>` +
    `${list.length === 0 ? '<LEASES/>' : `<LEASES>${list.join('')}</LEASES>`}</AR>`
  );
}

function networkXml(world: World, network: Network, asRange = rangeXml): string {
  const { phydev, vlanId, ranges, template } = network;
  const optional = (name: string, value: string | undefined): string =>
    value === undefined ? `<${name}/>` : `<${name}>${cdata(value)}</${name}>`;
  const used = ranges.reduce((sum, range) => sum + leases(world, network, range).size, 0);
  const stored = template.clone();
  const groups = network.securityGroups.join(',');
  if (stored.get('SECURITY_GROUPS') === undefined) stored.add('SECURITY_GROUPS', groups);
  return (
    `<VNET>${identityXml(network)}${permissionsXml(network)}<CLUSTERS><ID>0</ID></CLUSTERS>` +
    `<BRIDGE>${cdata(network.bridge)}</BRIDGE><BRIDGE_TYPE>${cdata(network.bridgeType)}</BRIDGE_TYPE>` +
    '<STATE>1</STATE><PREV_STATE>1</PREV_STATE><PARENT_NETWORK_ID/>' +
    `<VN_MAD>${cdata(network.vnMad)}</VN_MAD>${optional('PHYDEV', phydev)}${optional('VLAN_ID', vlanId)}` +
    '<OUTER_VLAN_ID/><VLAN_ID_AUTOMATIC>0</VLAN_ID_AUTOMATIC>' +
    '<OUTER_VLAN_ID_AUTOMATIC>0</OUTER_VLAN_ID_AUTOMATIC>' +
    `<USED_LEASES>${used}</USED_LEASES><VROUTERS></VROUTERS>${stored.toXml('TEMPLATE')}` +
    `<AR_POOL>${ranges.map((range) => asRange(world, network, range)).join('')}</AR_POOL></VNET>`
  );
}

const info: Handler = ({ world, params }) => {
  const network = world.networks.get(params.int(1));
  if (!network) throw noSuch('network', params.int(1));
  return networkXml(world, network);
};

export const networkMethods: MethodTable = {
  'one.vn.info': info,
  'one.vnpool.info': ({ world }) =>
    `<VNET_POOL>${[...world.networks.values()]
      .map((network) => networkXml(world, network, storedRangeXml))
      .join('')}</VNET_POOL>`,
};
