// The NICs of a restored VM: NIC, NIC_ALIAS, and PCI devices of TYPE NIC, by the same rules. oned numbers NICs first, then PCI
// NICs, then aliases, each in their order (VirtualMachine.cc, get_network_leases), so numbers and the names that contain
// them change. Pure.
import { childrenOf, textIn, type XmlElement } from '../xml/xml.ts';
import { applyRules, single, vectorOf } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';
import type { Vm } from './vm.ts';

export interface NicOptions {
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  readonly networks: ReadonlyMap<number, number>;
  /** Whether PCI devices are restored. */
  readonly pci: boolean;
}

export interface RestoredNics {
  /** NIC and NIC_ALIAS. */
  readonly elements: readonly XmlElement[];
  /** The new element for each PCI element of TYPE NIC; those that are missing are left out. */
  readonly pci: ReadonlyMap<XmlElement, XmlElement>;
  /** The new NIC_ID of each NIC by the old one, for OS/BOOT, which can name only NICs. */
  readonly nicIds: ReadonlyMap<string, number>;
}

/** NIC0 and NIC0_ALIAS1: oned makes such names itself, and renames a NIC whose template has one. */
const madeByOned = /^NIC\d+(_ALIAS\d+)?$/;

/** Whether the PCI element is a NIC. */
export function isPciNic(pci: XmlElement): boolean {
  return pci.name === 'PCI' && textIn(pci, 'TYPE') === 'NIC';
}

/** The restored NICs. Calls `warn` for what is left out. */
export function restoredNics(
  vm: Vm,
  options: NicOptions,
  warn: (text: string) => void,
): RestoredNics {
  if (options.nics === 'none') return { elements: [], pci: new Map(), nicIds: new Map() };
  const nics = childrenOf(vm.template, 'NIC');
  const pciNics = options.pci ? childrenOf(vm.template, 'PCI').filter(isPciNic) : [];
  const parents = [...nics, ...pciNics].map((nic, id) => ({ nic, id }));
  const restore = (nic: XmlElement, parent?: string) => restoredNic(nic, options, warn, parent);

  const aliases = childrenOf(vm.template, 'NIC_ALIAS').flatMap((alias) => {
    const parent = parents.find(({ nic }) => isParent(nic, alias));
    // oned gives no addresses to a NIC that has no network yet, nor to its aliases.
    if (!parent || !hasNetwork(parent.nic)) {
      warn(`${label(alias)} is left out: its NIC is not restored`);
      return [];
    }
    return [restore(alias, ownName(parent.nic) ?? `NIC${parent.id}`)];
  });
  return {
    elements: [...nics.map((nic) => restore(nic)), ...aliases],
    pci: new Map(pciNics.map((nic) => [nic, restore(nic)])),
    nicIds: new Map(nics.map((nic, id) => [textIn(nic, 'NIC_ID') || String(id), id])),
  };
}

function restoredNic(
  nic: XmlElement,
  options: NicOptions,
  warn: (text: string) => void,
  parent?: string,
): XmlElement {
  const oldNetwork = textIn(nic, 'NETWORK_ID');
  const newNetwork = options.networks.get(Number(oldNetwork));
  const otherNetwork =
    oldNetwork !== '' && newNetwork !== undefined && newNetwork !== Number(oldNetwork);
  const address = options.nics === 'same-addresses' ? keptAddress(nic, warn) : undefined;
  if (otherNetwork && textIn(nic, 'SECURITY_GROUPS') !== '') {
    warn(
      `${label(nic)}: the security groups ${textIn(nic, 'SECURITY_GROUPS')} are left out; the NIC gets those of network ${newNetwork}`,
    );
  }
  const rewrite = (attribute: XmlElement) => {
    switch (attribute.name) {
      case 'NETWORK_ID':
        return otherNetwork ? single('NETWORK_ID', String(newNetwork)) : attribute;
      case 'NAME':
        return ownName(nic) === undefined ? undefined : attribute;
      case 'PARENT':
        return parent === undefined ? undefined : single('PARENT', parent);
      default:
        return attribute.name === address ? attribute : undefined;
    }
  };
  const situation = { fromImage: false, otherNetwork };
  const made = vectorOf(nic.name, applyRules(attributeTable.NIC, nic, rewrite, situation));
  return nic.name === 'PCI' ? vectorOf('PCI', applyRules(attributeTable.PCI, made)) : made;
}

/**
 * The address that the NIC keeps. oned uses one address of a NIC and makes the others from it (VirtualNetwork.cc,
 * nic_attribute). In a shared range, and on a NIC that had only its virtual router's address, the MAC is random and does not
 * belong to a network, so it cannot be kept.
 */
function keptAddress(nic: XmlElement, warn: (text: string) => void): string | undefined {
  const address = ['IP', 'IP6', 'MAC'].find((name) => textIn(nic, name) !== '');
  const random = textIn(nic, 'SHARED') !== '' || textIn(nic, 'FLOATING_ONLY') !== '';
  if (address !== 'MAC' || !random) return address;
  warn(
    `${label(nic)} gets a new MAC: the old one, ${textIn(nic, 'MAC')}, does not belong to a network`,
  );
  return undefined;
}

function isParent(nic: XmlElement, alias: XmlElement): boolean {
  const id = textIn(alias, 'PARENT_ID');
  return id === '' ? textIn(nic, 'NAME') === textIn(alias, 'PARENT') : textIn(nic, 'NIC_ID') === id;
}

function ownName(nic: XmlElement): string | undefined {
  const name = textIn(nic, 'NAME');
  return name === '' || madeByOned.test(name) ? undefined : name;
}

function hasNetwork(nic: XmlElement): boolean {
  if (textIn(nic, 'NETWORK_ID') !== '') return true;
  return textIn(nic, 'NETWORK') !== '' && textIn(nic, 'NETWORK_MODE') === '';
}

/** The NIC's name for messages. */
function label(nic: XmlElement): string {
  const id = textIn(nic, 'NIC_ID');
  const what = nic.name === 'NIC_ALIAS' ? 'NIC alias' : nic.name === 'PCI' ? 'PCI NIC' : 'NIC';
  return id === '' ? what : `${what} ${id}`;
}
