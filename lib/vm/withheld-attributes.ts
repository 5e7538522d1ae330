// Leaves out attributes of a restored template that oned's own rules would accept: those that this user may not set
// (VM_RESTRICTED_ATTR), and those that act on the host, since a bundle may come from a stranger. Pure.
import { child, type XmlElement } from '../xml/xml.ts';
import { ruleFor, type Section } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';

export interface WithholdOptions {
  readonly restricted: readonly string[] | undefined;
  readonly noHostAttributes: boolean;
}

export interface Withholder {
  /** Whether the template may have the attribute, named like `NIC` or `NIC/MAC`. */
  allows: (name: string) => boolean;
  /** The attribute without the parts that are left out; undefined when all of it is. */
  filter: (attribute: XmlElement) => XmlElement | undefined;
  /** One sentence for each attribute that was left out, or acts on the host and is in the finished template. */
  warnings: (template: readonly XmlElement[]) => string[];
}

/** The warning about one attribute. */
interface Warning {
  /** Whether the rules keep it. It may still be missing in the template, as RAW is when its DATA was left out. */
  readonly kept: boolean;
  readonly sentence: (values: string) => string;
  /** The values of the attribute, which the sentence may name. */
  readonly values: Set<string>;
}

/** What the user loses with a restricted attribute, when its name does not say so. The argument is its old values. */
const losses: Readonly<Record<string, (values: string) => string>> = {
  'NIC/MAC': (macs) => `new addresses take the place of ${macs}`,
  'NIC_ALIAS/MAC': (macs) => `new addresses take the place of ${macs}`,
  'TOPOLOGY/PIN_POLICY': () => 'the VM is not pinned to CPUs',
  'TOPOLOGY/HUGEPAGE_SIZE': () => 'the VM has no huge pages',
  PCI: () => 'the VM is restored without its PCI devices',
  RAW: () => 'what it adds to the domain is missing',
  'RAW/DATA': () => 'what it adds to the domain is missing',
  EMULATOR: () => 'the VM is run by the emulator of the host',
  'CONTEXT/FILES': () => 'these files are missing on the context disk',
};

/** A new withholder, for one template. */
export function createWithholder(options: WithholdOptions): Withholder {
  const restricted = new Set(options.restricted?.map((name) => name.trim().toUpperCase()));
  const warned = new Map<string, Warning>();

  const warn = (name: string, value: string, kept: boolean, sentence: Warning['sentence']) => {
    const entry = warned.get(name) ?? { kept, sentence, values: new Set() };
    entry.values.add(value);
    warned.set(name, entry);
  };
  const stays = (name: string, value: string, host: string | undefined): boolean => {
    if (restricted.has(name.toUpperCase())) {
      const loss = losses[name];
      warn(name, value, false, (values) => {
        const lost = loss ? `; ${loss(values)}` : '';
        return `${name} is left out: only administrators may set it (VM_RESTRICTED_ATTR)${lost}`;
      });
      return false;
    }
    if (host === undefined) return true;
    const leftOut = options.noHostAttributes;
    warn(name, value, !leftOut, () =>
      leftOut
        ? `${name} is left out, because it ${host}`
        : `${name} is kept, and ${host}: check it before the VM is started (--no-restricted leaves it out)`,
    );
    return !leftOut;
  };
  return {
    allows: (name) =>
      !restricted.has(name) &&
      !(options.noHostAttributes && hostEffect(attributeTable.TEMPLATE, name) !== undefined),
    filter(attribute) {
      const { name } = attribute;
      if (!stays(name, attribute.text, hostEffect(attributeTable.TEMPLATE, name))) return undefined;
      const children = attribute.children.filter((part) =>
        stays(`${name}/${part.name}`, part.text, hostEffectIn(name, part.name)),
      );
      return { ...attribute, children };
    },
    warnings: (template) =>
      [...warned]
        .filter(([name, { kept }]) => !kept || template.some((attribute) => has(attribute, name)))
        .map(([, { sentence, values }]) => sentence([...values].join(', '))),
  };
}

/** Whether `attribute` is the one with this name (`NIC`), or contains it (`NIC/MAC`). */
function has(attribute: XmlElement, name: string): boolean {
  const [vector, part] = name.split('/');
  if (attribute.name !== vector) return false;
  return part === undefined || child(attribute, part) !== undefined;
}

function hostEffect(section: Section, name: string): string | undefined {
  return ruleFor(section, name, { name: '', text: '', children: [] })?.host;
}

/** NIC_ALIAS, PCI and NIC_DEFAULT have attributes of a NIC. */
function hostEffectIn(vector: string, name: string): string | undefined {
  const sections: Readonly<Record<string, Section>> = attributeTable;
  const like = ['NIC_ALIAS', 'PCI', 'NIC_DEFAULT'].includes(vector) ? 'NIC' : vector;
  const section = sections[like];
  return section && hostEffect(section, name);
}
