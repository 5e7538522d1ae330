// CONTEXT of a new VM: its variables are filled in, every NIC gets its ETH* variables, FILES_DS becomes paths,
// and a virtual router's VM gets its keys.
// Source: VirtualMachineContext.cc, read in 6.4.7, 6.10.5 and 7.4.0.
import { resolvedFiles } from './file-variables.ts';
import type { Release } from './release.ts';
import type { Vector } from './template.ts';
import { virtualRouterAttributes } from './vm-attributes.ts';
import { VmError } from './vm-error.ts';
import { filledVector } from './vm-variables.ts';
import type { Vm } from './vm.ts';
import type { World } from './world.ts';

interface NicVariable {
  /** What stands behind ETH<n>_. */
  readonly name: string;
  /** The attributes of the NIC it comes from. */
  readonly from: readonly string[];
  /** Whether range and network are asked when the NIC has none. */
  readonly network: boolean;
}

/** Without `from` the NIC's attribute has the variable's name. */
function variable(name: string, network: boolean, ...from: readonly string[]): NicVariable {
  return { name, network, from: from.length === 0 ? [name] : from };
}

function nicVariables(release: Release): readonly NicVariable[] {
  return [
    variable('IP', false),
    variable('MAC', false),
    variable('MASK', true, 'NETWORK_MASK'),
    variable('NETWORK', true, 'NETWORK_ADDRESS'),
    variable('GATEWAY', true),
    variable('DNS', true),
    variable('SEARCH_DOMAIN', true),
    variable('MTU', true, 'GUEST_MTU'),
    variable('METRIC', true),
    variable('METHOD', true),
    variable('VLAN_ID', true),
    ...(release.atLeast('7.2.0') ? [variable('ROUTES', true)] : []),
    variable('VROUTER_IP', false),
    variable('VROUTER_MANAGEMENT', false),
    variable('EXTERNAL', false),
    variable('IP6', false, 'IP6_GLOBAL', 'IP6'),
    variable('IP6_ULA', false),
    ...(release.atLeast('6.6.0') ? [] : [variable('GATEWAY6', true)]),
    variable('IP6_GATEWAY', true, 'GATEWAY6'),
    variable('IP6_METRIC', true),
    variable('IP6_METHOD', true),
    variable('IP6_PREFIX_LENGTH', true, 'PREFIX_LENGTH'),
    variable('VROUTER_IP6', false, 'VROUTER_IP6_GLOBAL', 'VROUTER_IP6'),
  ];
}

function value(nic: Vector, { from, network }: NicVariable): string {
  const own = from.map((name) => nic.get(name)).find(Boolean);
  if (own !== undefined || !network) return own ?? '';
  return `$NETWORK[${from[0] ?? ''}, NIC_ID="${nic.get('NIC_ID') ?? ''}"]`;
}

function isYes(text: string | undefined): boolean {
  return (text ?? '').toUpperCase() === 'YES';
}

/** ETH<n>_* of NICs and ETH<n>_ALIAS<m>_* of aliases. */
function addNicVariables(world: World, vm: Vm, context: Vector): void {
  const variables = nicVariables(world.settings.release);
  const asked: Vector = new Map();
  const add = (nic: Vector, prefix: string): void => {
    if ((nic.get('NETWORK_MODE') ?? '').toUpperCase() === 'AUTO') return;
    for (const one of variables) asked.set(`${prefix}_${one.name}`, value(nic, one));
  };
  for (const nic of vm.template.vectors('NIC')) add(nic, `ETH${nic.get('NIC_ID') ?? ''}`);
  for (const alias of vm.template.vectors('NIC_ALIAS')) {
    add(alias, `ETH${alias.get('PARENT_ID') ?? ''}_ALIAS${alias.get('ALIAS_ID') ?? ''}`);
  }
  if (asked.size === 0) return;
  for (const [key, filled] of filledVector(world, vm, asked)) context.set(key, filled);
}

/** PCI<n>_* of NICs that are passed through, as far as they have values. */
function addPciVariables(world: World, vm: Vm, context: Vector): void {
  for (const pci of vm.template.vectors('PCI')) {
    const prefix = `PCI${pci.get('PCI_ID') ?? ''}`;
    const isNic = pci.get('TYPE') === 'NIC' && isYes(context.get('NETWORK'));
    for (const { name, from } of isNic ? nicVariables(world.settings.release) : []) {
      const own = from.map((one) => pci.get(one)).find(Boolean);
      if (own !== undefined) context.set(`${prefix}_${name}`, own);
    }
    const address = pci.get('VM_ADDRESS');
    if (address) context.set(`${prefix}_ADDRESS`, address);
  }
}

/** @throws VmError for variables that oned cannot parse, files it does not find, and TOKEN without OneGate. */
export function addContext(world: World, vm: Vm): void {
  const [given] = vm.template.vectors('CONTEXT');
  if (!given) return;
  const files = given.get('FILES_DS') ?? '';
  given.delete('FILES_DS');
  const context = filledVector(world, vm, given);
  vm.template.replace('CONTEXT', context);
  const [stored = context] = vm.template.vectors('CONTEXT');
  if (isYes(stored.get('NETWORK'))) addNicVariables(world, vm, stored);
  addPciVariables(world, vm, stored);
  if (files !== '') {
    const resolved = resolvedFiles(world, vm, files);
    if (resolved !== '') stored.set('FILES_DS', resolved);
  }
  if (isYes(stored.get('TOKEN'))) {
    throw new VmError('TOKEN set, but onegate endpoint was not defined in oned.conf.');
  }
  for (const name of virtualRouterAttributes) {
    const own = vm.template.get(name);
    if (own) stored.set(name, own);
  }
}
