// Makes the template of a restored VM, as XML, from the old VM and its restored disks. template-attributes.ts says what is kept
// and why. Pure.
import { childrenOf, textIn, type XmlElement } from '../xml/xml.ts';
import { applyRules, single, vectorOf, type Rewrite, type Section } from './attribute-rules.ts';
import { createCarrier } from './dollars.ts';
import { restoredContext, restoredOsFile, type Files } from './restored-context.ts';
import {
  backupConfig,
  bootOrder,
  diskElement,
  renumberedAction,
  type RestoredDisk,
} from './restored-disks.ts';
import { isPciNic, restoredNics } from './restored-nics.ts';
import { restoredTopology } from './restored-topology.ts';
import { attributeTable } from './template-attributes.ts';
import type { Vm } from './vm.ts';
import { createWithholder } from './withheld-attributes.ts';

export type { RestoredDisk };

export interface TemplateOptions {
  readonly name: string;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** In the order of their DISK_IDs; disks of the VM that are not in the list are left out. */
  readonly disks: readonly RestoredDisk[];
  /** The time of the restore, which separates future scheduled actions from past ones. */
  readonly now: Date;
  /** New NETWORK_IDs by old ones (--map-network); those that are missing are kept. */
  readonly networks?: ReadonlyMap<number, number>;
  /** Attributes that this user may not set, as oned's VM_RESTRICTED_ATTR lists them ("NIC/MAC"); undefined: an administrator. */
  readonly restricted?: readonly string[] | undefined;
  /** Whether attributes that act on the host (RAW, EMULATOR, PCI, CONTEXT/FILES...) are left out (--no-restricted). */
  readonly noHostAttributes?: boolean;
  /** The images of the files that `fileSources` returns, as far as they exist. */
  readonly files?: Files;
}

export interface RestoredTemplate {
  /** The document for one.template.allocate: root VMTEMPLATE. */
  readonly xml: XmlElement;
  /** One sentence for each attribute that is lost, or that is kept and may be dangerous. */
  readonly warnings: readonly string[];
}

/** Attributes that are assembled separately, because there are several of them, or because the VM has them outside TEMPLATE. */
const separate = ['DISK', 'NIC', 'NIC_ALIAS', 'NUMA_NODE', 'SCHED_ACTION', 'BACKUP_CONFIG'];

/** Makes the template of a restored VM. Changes nothing and never fails: what cannot be kept is a warning. */
export function restoredTemplate(vm: Vm, options: TemplateOptions): RestoredTemplate {
  const warnings: string[] = [];
  const warn = (text: string) => warnings.push(text);
  const { nics, disks, networks = new Map(), files = new Map() } = options;
  const withheld = createWithholder({
    restricted: options.restricted,
    noHostAttributes: options.noHostAttributes ?? false,
  });
  const restored = restoredNics(vm, { nics, networks, pci: withheld.allows('PCI') }, warn);
  const carrier = createCarrier();

  const rewriteOs = (os: XmlElement) => (part: XmlElement) => {
    if (part.name !== 'BOOT') return restoredOsFile(os, part, files);
    const boot = bootOrder(part.text, disks, restored.nicIds);
    return boot === '' ? undefined : single('BOOT', boot);
  };
  const rewrite = (attribute: XmlElement): XmlElement | undefined => {
    const { name } = attribute;
    if (separate.includes(name)) return undefined;
    if (name === 'CONTEXT') return restoredContext(attribute, files, carrier, warn);
    if (name === 'OS') return byRules(attribute, rewriteOs(attribute));
    if (name.endsWith('REQUIREMENTS')) return carrier.carry(attribute, '');
    // A PCI NIC that is not in the map is withheld below, with a warning.
    if (isPciNic(attribute)) {
      return nics === 'none' ? undefined : (restored.pci.get(attribute) ?? attribute);
    }
    return byRules(attribute);
  };
  const kept = applyRules(attributeTable.TEMPLATE, ofTemplate(vm), rewrite);
  const xml = [
    ...kept,
    ...disks.map(diskElement),
    ...restored.elements,
    ...scheduledActions(vm, options),
    backupConfig(vm, disks),
    ...carrier.attributes,
  ]
    .flatMap((attribute) => withheld.filter(attribute) ?? [])
    .flatMap((attribute) =>
      attribute.name === 'TOPOLOGY' ? restoredTopology(vm, attribute) : [attribute],
    )
    .filter((attribute) => !isEmptyVector(attribute, vm));
  return {
    xml: vectorOf('VMTEMPLATE', [single('NAME', options.name), ...xml]),
    warnings: [...warnings, ...withheld.warnings(xml)],
  };
}

function byRules(attribute: XmlElement, rewrite?: Rewrite): XmlElement {
  const sections: Readonly<Record<string, Section>> = attributeTable;
  const section = sections[attribute.name];
  if (!section) throw new Error(`the table has no section ${attribute.name}`);
  return vectorOf(attribute.name, applyRules(section, attribute, rewrite));
}

/**
 * TEMPLATE, and the attributes of USER_TEMPLATE that are not also in TEMPLATE, since oned would read those twice. Devices in
 * USER_TEMPLATE are left out: oned has moved the VM's real devices to TEMPLATE, so these are only somebody's notes.
 */
function ofTemplate(vm: Vm): XmlElement {
  const taken = new Set([...vm.template.children.map(({ name }) => name), ...separate, 'PCI']);
  return vectorOf('TEMPLATE', [
    ...vm.template.children,
    ...vm.userTemplate.children.filter(({ name }) => !taken.has(name)),
  ]);
}

/** Actions that repeat, or whose time is in the future; oned would run a past one at once. */
function scheduledActions(vm: Vm, { now, disks }: TemplateOptions): XmlElement[] {
  return [
    ...childrenOf(vm.template, 'SCHED_ACTION'),
    ...vm.schedActions,
    ...childrenOf(vm.userTemplate, 'SCHED_ACTION'),
  ].flatMap((action) => {
    const time = textIn(action, 'TIME');
    const repeats = !['', '-1'].includes(textIn(action, 'REPEAT'));
    const isDue = repeats || time.startsWith('+') || Number(time) * 1000 > now.getTime();
    const renumbered = isDue ? renumberedAction(action, disks) : undefined;
    if (!renumbered) return [];
    const kept = applyRules(attributeTable.SCHED_ACTION, renumbered);
    return [
      vectorOf(
        'SCHED_ACTION',
        kept.filter(({ text }) => text !== ''),
      ),
    ];
  });
}

/**
 * Whether an attribute is an empty vector. oned refuses a vector attribute without values, such as `OS=""` ("Internal error
 * parsing OS attribute"). A RAW without DATA has no effect and is treated as empty. Single attributes that the user left empty
 * are kept.
 */
function isEmptyVector({ name, text, children }: XmlElement, vm: Vm): boolean {
  if (name === 'RAW') return children.every((part) => !part.name.startsWith('DATA'));
  if (children.length > 0 || text !== '') return false;
  return childrenOf(vm.userTemplate, name).length === 0 || vectorsOfOned.includes(name);
}

/** The attributes that oned reads as vectors (VirtualMachineParser.cc). */
const vectorsOfOned = [
  ...Object.keys(attributeTable),
  ...['FEATURES', 'INPUT', 'VIDEO', 'CPU_MODEL', 'NIC_DEFAULT', 'VMGROUP', 'TPM', 'IOMMU'],
  ...['MEMORY_ENCRYPTION'],
];
