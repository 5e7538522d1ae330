// Keeps oned from evaluating values twice. oned replaces `$NAME` in CONTEXT and SCHED_REQUIREMENTS when it makes a VM, so the
// values of a VM are results, in which a dollar is only a dollar. oned has no way to escape it (`\$` stays `\$`). So a value
// with a dollar is moved to an attribute of its own, and the evaluated attribute refers to that one: oned does not evaluate
// what it has inserted.
// Source: src/parsers/vm_var_parser.l, vm_var_syntax.y (6.4.7 to 7.4.0).
import type { XmlElement } from '../xml/xml.ts';
import { single } from './attribute-rules.ts';

/** Moves values to attributes of their own, and collects these. */
export interface Carrier {
  /** Returns the attribute that oned has to get in place of `attribute`. */
  carry: (attribute: XmlElement, prefix: string) => XmlElement;
  /** The attributes of the template that hold the carried values. */
  readonly attributes: readonly XmlElement[];
}

/** A new carrier, for one template. */
export function createCarrier(): Carrier {
  const attributes: XmlElement[] = [];
  const taken = new Set<string>();
  return {
    attributes,
    carry(attribute, prefix) {
      if (!changesWhenEvaluated(attribute.text)) return attribute;
      // oned accepts names of capital letters, digits and underscores.
      const base = `ONEVMDUMP_${prefix}${attribute.name}`.toUpperCase().replaceAll(/\W/g, '_');
      let name = base;
      for (let more = 2; taken.has(name); more++) name = `${base}_${more}`;
      taken.add(name);
      attributes.push(single(name, attribute.text));
      return { ...attribute, text: `$${name}` };
    },
  };
}

/** Whether a value has a dollar without a backslash before it, or ends with a single backslash, which oned would drop. */
function changesWhenEvaluated(value: string): boolean {
  return /^(?:[^$\\]|\\[^])*(?:\$|\\$)/.test(value);
}
