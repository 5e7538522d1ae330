// The VM template of a restored VM, as XML: everything of the old VM that can be kept, with its
// disks replaced by the restored ones. Pure.
import { child, childrenOf, childText, type XmlElement } from '../input/xml.ts';
import {
  addressesInNic,
  generatedContextNetwork,
  generatedInDisk,
  generatedInNic,
  generatedInTemplate,
  generatedInUserTemplate,
  generatedInVector,
  keptInBackupConfig,
} from './generated-attributes.ts';
import type { Disk, Vm } from './vm.ts';

/** How a disk of the old VM comes back. */
export type RestoredDisk =
  /** From an image: a restored one, or the one a CD-ROM came from. */
  | { readonly disk: Disk; readonly as: 'image'; readonly imageId: number }
  /** As a new, empty volatile disk. */
  | { readonly disk: Disk; readonly as: 'volatile' };

export interface TemplateOptions {
  readonly name: string;
  readonly nics: 'none' | 'same-addresses' | 'new-addresses';
  /** In the order of their DISK_IDs; disks of the VM that are not in the list are left out. */
  readonly disks: readonly RestoredDisk[];
  /** The moment of the restore, to tell scheduled actions that lie ahead from past ones. */
  readonly now: Date;
  /** NETWORK_IDs that become others (--map-network); undefined or missing: kept. */
  readonly networks?: ReadonlyMap<number, number>;
  /** Attributes that this user may not set, as oned's VM_RESTRICTED_ATTR lists them ("NIC/MAC"); undefined: an administrator. */
  readonly restricted?: readonly string[] | undefined;
  /** Whether attributes that reach the host (RAW, EMULATOR, PCI, CONTEXT/FILES...) are left out (--no-restricted). */
  readonly noHostAttributes?: boolean;
}

export interface RestoredTemplate {
  /** The document for one.template.allocate: root VMTEMPLATE. */
  readonly xml: XmlElement;
  /** What the user has to know about what is lost, or kept and dangerous: one sentence each. */
  readonly warnings: readonly string[];
}

/** Makes the template of a restored VM. Changes nothing and never fails: what cannot be kept is a warning. */
export function restoredTemplate(vm: Vm, options: TemplateOptions): RestoredTemplate {
  const xml = element('VMTEMPLATE', [
    text('NAME', options.name),
    ...keptAttributes(vm, options),
    ...numaNodes(vm),
    ...options.disks.map(diskElement),
    ...(options.nics === 'none' ? [] : nicElements(vm, options.nics)),
    ...scheduledActions(vm, options.now),
    ...backupConfig(vm),
    ...userAttributes(vm),
  ]);
  return { xml, warnings: [] };
}

function keptAttributes(vm: Vm, options: TemplateOptions): XmlElement[] {
  return vm.template.children
    .filter(({ name }) => !(name in generatedInTemplate))
    .map((attribute) => {
      const left = generatedInVector[attribute.name] ?? {};
      const children = attribute.children.filter(({ name }) => !(name in left));
      if (attribute.name === 'CONTEXT') return element('CONTEXT', contextValues(children));
      if (attribute.name === 'OS') return element('OS', bootOrder(children, options));
      return { ...attribute, children };
    });
}

function contextValues(children: readonly XmlElement[]): XmlElement[] {
  const rebuilt = children.some(({ name, text }) => name === 'NETWORK' && isYes(text));
  return children.filter(({ name }) => !(rebuilt && generatedContextNetwork.test(name)));
}

/**
 * oned numbers the new disks 0, 1, 2, ...: `disk7` in OS/BOOT becomes the number it has then. What is
 * not restored is left out, since oned refuses a boot order that names it.
 */
function bootOrder(
  children: readonly XmlElement[],
  { disks, nics }: TemplateOptions,
): readonly XmlElement[] {
  const renumber = (device: string): string[] => {
    if (/^nic\d+$/.test(device)) return nics === 'none' ? [] : [device];
    const id = /^disk(\d+)$/.exec(device)?.[1];
    if (id === undefined) return [device];
    const place = disks.findIndex(({ disk }) => disk.id === Number(id));
    return place === -1 ? [] : [`disk${place}`];
  };
  return children.flatMap((one) => {
    if (one.name !== 'BOOT') return [one];
    const devices = one.text.split(',').map((device) => device.trim());
    const kept = devices.filter(Boolean).flatMap(renumber);
    return kept.length === 0 ? [] : [text('BOOT', kept.join(','))];
  });
}

function diskElement(restored: RestoredDisk): XmlElement {
  const { disk } = restored;
  const volatile = restored.as === 'volatile';
  // Both are what oned makes a new, empty disk of.
  const kept = disk.xml.children.filter(
    ({ name }) => !(name in generatedInDisk) && (volatile || !['FS', 'FSTYPE'].includes(name)),
  );
  const readonly = disk.readonly && !/CDROM/i.test(disk.type) ? [text('READONLY', 'YES')] : [];
  const prefix = disk.devPrefix === undefined ? [] : [text('DEV_PREFIX', disk.devPrefix)];
  if (restored.as === 'image') {
    return element('DISK', [
      text('IMAGE_ID', String(restored.imageId)),
      ...prefix,
      ...readonly,
      ...kept,
    ]);
  }
  const again = ['TYPE', 'FORMAT', 'SIZE'].flatMap((name) => child(disk.xml, name) ?? []);
  return element('DISK', [...again, ...prefix, ...readonly, ...kept]);
}

function nicElements(vm: Vm, nics: 'same-addresses' | 'new-addresses'): XmlElement[] {
  const keep = (nic: XmlElement) => {
    const byId = child(nic, 'NETWORK_ID') !== undefined;
    return nic.children.filter(({ name }) => {
      // A NIC that still waits for its network (NETWORK_MODE=auto) has a name or nothing.
      if (!byId && name.startsWith('NETWORK')) return true;
      if (nics === 'new-addresses' && addressesInNic.test(name)) return false;
      return !(name in generatedInNic);
    });
  };
  return vm.template.children
    .filter(({ name }) => name === 'NIC' || name === 'NIC_ALIAS')
    .map((nic) => element(nic.name, keep(nic)));
}

/** oned stores MEMORY of a node in KiB and reads it in MiB; unpinned VMs have no nodes of their own. */
function numaNodes(vm: Vm): XmlElement[] {
  const topology = child(vm.template, 'TOPOLOGY');
  const policy = topology && childText(topology, 'PIN_POLICY');
  if (policy === undefined || policy.toUpperCase() === 'NONE') return [];
  return childrenOf(vm.template, 'NUMA_NODE').flatMap((node) => {
    const cpus = childText(node, 'TOTAL_CPUS');
    const kib = Number(childText(node, 'MEMORY'));
    if (cpus === undefined || !(kib >= 1024)) return [];
    return [
      element('NUMA_NODE', [
        text('TOTAL_CPUS', cpus),
        text('MEMORY', String(Math.floor(kib / 1024))),
      ]),
    ];
  });
}

const keptInScheduledAction = ['ACTION', 'ARGS', 'DAYS', 'END_TYPE', 'END_VALUE', 'REPEAT', 'TIME'];

/** Actions that repeat, or whose time is yet to come; a past one would run at once. */
function scheduledActions(vm: Vm, now: Date): XmlElement[] {
  const inTemplate = childrenOf(vm.template, 'SCHED_ACTION');
  const besideTemplate = vm.schedActions;
  return [...inTemplate, ...besideTemplate]
    .filter((action) => {
      const time = childText(action, 'TIME') ?? '';
      const repeats =
        (childText(action, 'REPEAT') ?? '') !== '' && childText(action, 'REPEAT') !== '-1';
      return repeats || time.startsWith('+') || Number(time) * 1000 > now.getTime();
    })
    .map((action) =>
      element(
        'SCHED_ACTION',
        action.children.filter(
          ({ name, text: value }) => keptInScheduledAction.includes(name) && value !== '',
        ),
      ),
    );
}

function backupConfig(vm: Vm): XmlElement[] {
  const kept = vm.backupConfig?.children.filter(
    ({ name, text: value }) => keptInBackupConfig.includes(name) && value !== '',
  );
  return kept && kept.length > 0 ? [element('BACKUP_CONFIG', kept)] : [];
}

/** USER_TEMPLATE, without what TEMPLATE has too (oned would see it twice). */
function userAttributes(vm: Vm): XmlElement[] {
  const inTemplate = new Set(
    vm.template.children.map(({ name }) => name).filter((name) => !(name in generatedInTemplate)),
  );
  return vm.userTemplate.children.filter(
    ({ name }) => !(name in generatedInUserTemplate) && !inTemplate.has(name) && name !== 'NAME',
  );
}

function isYes(value: string): boolean {
  return ['YES', 'Y', 'TRUE', '1'].includes(value.trim().toUpperCase());
}

function element(name: string, children: readonly XmlElement[]): XmlElement {
  return { name, text: '', children };
}

function text(name: string, value: string): XmlElement {
  return { name, text: value, children: [] };
}
