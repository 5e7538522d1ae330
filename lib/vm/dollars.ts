// Values that oned evaluates. It replaces `$NAME` in CONTEXT and SCHED_REQUIREMENTS when a VM is made, so
// the values of a VM are results already: a dollar in them is meant as it is, and there is no way to
// write that (`\$` stays `\$`). A value that would change is carried in an attribute of its own, to which
// the evaluated one refers: what is put in the place of a name is not evaluated again.
// Source: src/parsers/vm_var_parser.l, vm_var_syntax.y (6.4.7 to 7.4.0).
import type { XmlElement } from '../xml/xml.ts';
import { single } from './attribute-rules.ts';

/** Collects what carries values. */
export interface Carrier {
  /** The attribute as oned has to get it. */
  carry: (attribute: XmlElement, prefix: string) => XmlElement;
  /** The attributes of the template that hold the carried values. */
  readonly attributes: readonly XmlElement[];
}

/** A new, empty carrier, for one template. */
export function createCarrier(): Carrier {
  const attributes: XmlElement[] = [];
  const taken = new Set<string>();
  return {
    attributes,
    carry(attribute, prefix) {
      if (!changesWhenEvaluated(attribute.text)) return attribute;
      // oned looks for names of letters, digits and underscores, in capitals.
      const base = `ONEVMDUMP_${prefix}${attribute.name}`.toUpperCase().replaceAll(/\W/g, '_');
      let name = base;
      for (let more = 2; taken.has(name); more++) name = `${base}_${more}`;
      taken.add(name);
      attributes.push(single(name, attribute.text));
      return { ...attribute, text: `$${name}` };
    },
  };
}

/** A dollar that no backslash stands before, or a last backslash with nothing behind it (it is lost). */
function changesWhenEvaluated(value: string): boolean {
  return /^(?:[^$\\]|\\[^])*(?:\$|\\$)/.test(value);
}
