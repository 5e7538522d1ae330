// What oned makes of the NICs of a new VM: ids, names, parents of aliases, addresses.
// Source: VirtualMachine::get_network_leases, VirtualMachineNics::get_network_leases, VirtualMachineNic.h
// (set_nic_name, set_nic_alias_name), VirtualNetworkPool::nic_attribute, read in 6.4.7, 6.10.5 and 7.4.0.
import { heldLease, lease } from './networks.ts';
import type { Network } from './networks.ts';
import type { Vector } from './template.ts';
import { VmError } from './vm-error.ts';
import type { Vm } from './vm.ts';
import type { World } from './world.ts';

/** The network a NIC names, or why there is none; undefined when it names none. */
export function networkOf(world: World, uid: number, nic: Vector): Network | string | undefined {
  const { NETWORK: name, NETWORK_ID: id } = Object.fromEntries(nic);
  if (id) {
    return world.networks.get(parseInt(id, 10)) ?? `Virtual network with ID: ${id} does not exist`;
  }
  if (!name) return undefined;
  const owner = world.users.byName(nic.get('NETWORK_UNAME') ?? '')?.id;
  if (!nic.get('NETWORK_UID') && nic.get('NETWORK_UNAME') && owner === undefined) {
    return 'User set in NETWORK_UNAME does not exist';
  }
  const wanted = Number(nic.get('NETWORK_UID') || (owner ?? uid));
  return (
    [...world.networks.values()].find((one) => one.name === name && one.uid === wanted) ??
    `User ${wanted} does not own a network with name: ${name} . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.`
  );
}

/** A name like those that oned gives gets an underscore in front. */
function setName(nic: Vector, otherwise: string): string {
  const given = nic.get('NAME') ?? '';
  const name = /^NIC\d+(_ALIAS\d+)?$/.test(given) ? `_${given}` : given || otherwise;
  nic.set('NAME', name);
  return name;
}

class NicMaker {
  readonly #world: World;
  readonly #vm: Vm;
  readonly #reserved = new Set<string>();
  readonly securityGroups = new Set<number>();

  constructor(world: World, vm: Vm) {
    this.#world = world;
    this.#vm = vm;
  }

  /** Sets id, network and address. A NIC that names no network keeps what it has. */
  attach(nic: Vector, id: number, isAlias: boolean): void {
    nic.set('NIC_ID', String(id));
    const network = networkOf(this.#world, this.#vm.uid, nic);
    if (typeof network === 'string') throw new VmError(network);
    if (!network) return;
    const values = {
      NETWORK: network.name,
      NETWORK_ID: String(network.id),
      BRIDGE: network.bridge,
      VN_MAD: network.vnMad,
      PHYDEV: network.phydev,
      VLAN_ID: network.vlanId,
      TARGET: nic.get('TARGET') || `one-${this.#vm.id}-${id}`,
      CLUSTER_ID: '0',
      BRIDGE_TYPE: network.bridgeType,
    };
    for (const [key, value] of Object.entries(values)) if (value) nic.set(key, value);
    lease(this.#world, network, nic, this.#reserved);
    this.#reserved.add(heldLease(network, nic) ?? '');
    const given = (nic.get('SECURITY_GROUPS') ?? '').split(',').filter(Boolean).map(Number);
    const groups = [...new Set([...given, ...network.securityGroups])].sort((a, b) => a - b);
    nic.set('SECURITY_GROUPS', groups.join(','));
    if (!isAlias) for (const group of groups) this.securityGroups.add(group);
  }
}

/** Attributes of NIC_DEFAULT that the NIC does not have. */
function addDefaults(nic: Vector, defaults: Vector | undefined): void {
  for (const [key, value] of defaults ?? []) if (!nic.has(key)) nic.set(key, value);
}

function withoutNetwork(world: World, nic: Vector): string | undefined {
  const mode = (nic.get('NETWORK_MODE') ?? '').toUpperCase();
  const modes = world.settings.release.atLeast('7.4.0') ? ['AUTO', 'DUMMY'] : ['AUTO'];
  return modes.find((one) => one === mode);
}

interface Parent {
  readonly id: number;
  readonly aliases: number[];
}

/** Gives every NIC of a new VM its id, name, address and attributes. @throws VmError in oned's words. */
export function attachNics(world: World, vm: Vm): void {
  const { template } = vm;
  const maker = new NicMaker(world, vm);
  const [defaults] = template.vectors('NIC_DEFAULT');
  const aliases = template.vectors('NIC_ALIAS');
  const passedThrough = template.vectors('PCI').filter((pci) => pci.get('TYPE') === 'NIC');
  const nics = [...template.vectors('NIC'), ...passedThrough];
  const parents = new Map<string, Parent>();
  for (const [id, nic] of nics.entries()) {
    if (withoutNetwork(world, nic) !== undefined) {
      setName(nic, `NIC${id}`);
      nic.set('NIC_ID', String(id));
      continue;
    }
    addDefaults(nic, defaults);
    maker.attach(nic, id, false);
    const name = setName(nic, `NIC${id}`);
    if (!parents.has(name)) parents.set(name, { id, aliases: [] });
  }
  for (const alias of aliases) {
    const mode = withoutNetwork(world, alias);
    if (mode === undefined) continue;
    const dummies = world.settings.release.atLeast('7.4.0');
    throw new VmError(`Alias is incompatible with ${dummies ? `mode ${mode}` : 'auto mode'}`);
  }
  for (const [at, alias] of aliases.entries()) {
    const id = nics.length + at;
    const name = alias.get('PARENT') ?? '';
    const parent = parents.get(name);
    if (!parent) throw new VmError(`NIC named ${name} not found for alias`);
    alias.set('PARENT_ID', String(parent.id));
    alias.set('ALIAS_ID', String(parent.aliases.length));
    parent.aliases.push(id);
    maker.attach(alias, id, true);
    setName(alias, `NIC${parent.id}_ALIAS${id}`);
  }
  for (const nic of nics) {
    const parent = parents.get(nic.get('NAME') ?? '');
    if (parent && parent.aliases.length > 0) nic.set('ALIAS_IDS', parent.aliases.join(','));
  }
  // The only security group of the stand-in is the default one.
  if (maker.securityGroups.has(0)) addSecurityRules(vm);
}

function addSecurityRules(vm: Vm): void {
  for (const direction of ['OUTBOUND', 'INBOUND']) {
    vm.template.add(
      'SECURITY_GROUP_RULE',
      new Map([
        ['PROTOCOL', 'ALL'],
        ['RULE_TYPE', direction],
        ['SECURITY_GROUP_ID', '0'],
        ['SECURITY_GROUP_NAME', 'default'],
      ]),
    );
  }
}
