// What a restored template must not have for other reasons than oned's: what this user may not set
// (VM_RESTRICTED_ATTR), and what acts on the host and comes from a bundle that may be a stranger's. Pure.
import type { XmlElement } from '../input/xml.ts';
import { ruleFor, type Section } from './attribute-rules.ts';
import { attributeTable } from './template-attributes.ts';

export interface WithholdOptions {
  readonly restricted: readonly string[] | undefined;
  readonly noHostAttributes: boolean;
}

export interface Withholder {
  /** Whether the template may have such an attribute at all, as `NIC` or `NIC/MAC`. */
  allows: (name: string) => boolean;
  /** What may stay of an attribute of the template; undefined when nothing may. */
  filter: (attribute: XmlElement) => XmlElement | undefined;
  /** One sentence for each attribute that was left out, or is kept and acts on the host. */
  warnings: () => string[];
}

/** What a user loses with a restricted attribute, where its name does not say it; of the values it had. */
const losses: Readonly<Record<string, (values: string) => string>> = {
  'NIC/MAC': (macs) => `new addresses take the place of ${macs}`,
  'NIC_ALIAS/MAC': (macs) => `new addresses take the place of ${macs}`,
  'TOPOLOGY/PIN_POLICY': () => 'the VM is not pinned to CPUs',
  'TOPOLOGY/HUGEPAGE_SIZE': () => 'the VM has no huge pages',
  PCI: () => 'the VM comes back without its PCI devices',
  RAW: () => 'what it adds to the domain is missing',
  'RAW/DATA': () => 'what it adds to the domain is missing',
  EMULATOR: () => 'the VM is run by the emulator of the host',
  'CONTEXT/FILES': () => 'these files are missing on the context disk',
};

/** Decides for one template. */
export function createWithholder(options: WithholdOptions): Withholder {
  const restricted = new Set(options.restricted?.map((name) => name.trim().toUpperCase()));
  /** By attribute: the sentence, and the values that it may name. */
  const told = new Map<string, { sentence: (values: string) => string; values: Set<string> }>();

  const tell = (name: string, value: string, sentence: (values: string) => string) => {
    const entry = told.get(name) ?? { sentence, values: new Set() };
    entry.values.add(value);
    told.set(name, entry);
  };
  const stays = (name: string, value: string, host: string | undefined): boolean => {
    if (restricted.has(name.toUpperCase())) {
      const loss = losses[name];
      tell(name, value, (values) => {
        const lost = loss ? `; ${loss(values)}` : '';
        return `${name} is left out: only administrators may set it (VM_RESTRICTED_ATTR)${lost}`;
      });
      return false;
    }
    if (host === undefined) return true;
    const leftOut = options.noHostAttributes;
    tell(name, value, () =>
      leftOut
        ? `${name} is left out, as it ${host}`
        : `${name} is kept, and ${host}: look at it before the VM is started (--no-restricted leaves it out)`,
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
    warnings: () =>
      [...told.values()].map(({ sentence, values }) => sentence([...values].join(', '))),
  };
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
