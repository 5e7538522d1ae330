// Interprets the table in template-attributes.ts. Pure.
import { textIn, type XmlElement } from '../xml/xml.ts';

export interface AttributeRule {
  /** Names as OpenNebula writes them; `#` stands for a number, `*` for anything. */
  readonly names: readonly string[];
  readonly fate: 'kept' | 'left out' | 'rewritten';
  /** What the attribute does on the host; set for attributes that must not be restored without a warning. */
  readonly host?: string;
  /** The rule applies only if this returns true; undefined: always. */
  readonly when?: (vector: XmlElement, situation: Situation) => boolean;
  readonly reason: string;
  /** The file of OpenNebula's sources that writes or checks the attribute. */
  readonly source: string;
}

/** The attributes of one vector attribute, or of the template. */
export interface Section {
  /** What happens to an attribute that no rule names. */
  readonly otherwise: AttributeRule['fate'];
  readonly rules: readonly AttributeRule[];
}

/** What a rule may depend on other than the attributes themselves. */
export interface Situation {
  /** The DISK is made from an image. */
  readonly fromImage: boolean;
  /** The NIC is restored into another network. */
  readonly otherNetwork: boolean;
}

const ordinary: Situation = { fromImage: false, otherNetwork: false };

/** Returns what replaces an attribute; undefined leaves it out. */
export type Rewrite = (attribute: XmlElement) => XmlElement | readonly XmlElement[] | undefined;

/** The first rule that names the attribute and applies in this situation. */
export function ruleFor(
  section: Section,
  name: string,
  vector: XmlElement,
  situation: Situation = ordinary,
): AttributeRule | undefined {
  return section.rules.find(
    ({ names, when }) =>
      names.some((pattern) => isNamed(name, pattern)) && (when?.(vector, situation) ?? true),
  );
}

/** The attributes of a vector after the section's rules, in their order. `rewrite` is called for those to be rewritten. */
export function applyRules(
  section: Section,
  vector: XmlElement,
  rewrite: Rewrite = (attribute) => attribute,
  situation: Situation = ordinary,
): XmlElement[] {
  return vector.children.flatMap((attribute) => {
    const fate = ruleFor(section, attribute.name, vector, situation)?.fate ?? section.otherwise;
    if (fate === 'left out') return [];
    return fate === 'kept' ? [attribute] : (rewrite(attribute) ?? []);
  });
}

function isNamed(name: string, pattern: string): boolean {
  if (!/[#*]/.test(pattern)) return name === pattern;
  const expression = pattern.replaceAll('#', String.raw`\d+`).replaceAll('*', '.*');
  return new RegExp(`^${expression}$`, 's').test(name);
}

/** Whether oned reads the attribute as true (Template.cc, VectorAttribute::vector_value). */
export function isYes(vector: XmlElement, name: string): boolean {
  return ['YES', 'Y', 'TRUE', '1'].includes(textIn(vector, name).trim().toUpperCase());
}

/** A vector attribute. */
export function vectorOf(name: string, children: readonly XmlElement[]): XmlElement {
  return { name, text: '', children };
}

/** A single attribute. */
export function single(name: string, text: string): XmlElement {
  return { name, text, children: [] };
}
