// oned's Template: attributes that are single values or vectors of values, kept and written in the
// order of their names (values of one name in the order they came). Source: Template.cc, Attribute.cc.
import { internal } from './failure.ts';
import { elements, hasForbidden, parseXml, XmlError } from './xml-tree.ts';
import type { Element } from './xml-tree.ts';

export type Vector = Map<string, string>;
export interface Attribute {
  readonly name: string;
  readonly value: string | Vector;
}

/** Attribute names are upper case, and those that XML does not allow get ONE_ in front. */
function attributeName(name: string): string {
  const upper = name.toUpperCase();
  return !/^[A-Za-z_]/.test(name) || name.startsWith('XML') ? `ONE_${upper}` : upper;
}

/** oned reads objects back from XML in its database, and XML has no carriage returns. */
function asStored(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}

function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function cdata(text: string): string {
  return `<![CDATA[${text}]]>`;
}

export class Template {
  #attributes: Attribute[] = [];

  add(name: string, value: string | Vector): void {
    const kept =
      typeof value === 'string'
        ? asStored(value)
        : new Map([...value].map(([key, text]) => [key, asStored(text)]));
    this.#attributes.push({ name: attributeName(name), value: kept });
  }

  /** Without blanks around the values. */
  trim(): void {
    for (const [at, { name, value }] of this.#attributes.entries()) {
      const trimmed =
        typeof value === 'string'
          ? value.trim()
          : new Map([...value].map(([key, text]) => [key, text.trim()]));
      this.#attributes[at] = { name, value: trimmed };
    }
  }

  /** Forgets vectors without values, which oned loses when it reads an object from its database. */
  dropEmptyVectors(): void {
    this.#attributes = this.#attributes.filter(
      ({ value }) => typeof value === 'string' || value.size > 0,
    );
  }

  /** All attributes, by name. */
  all(): readonly Attribute[] {
    return [...this.#attributes].sort((a, b) => byName(a.name, b.name));
  }

  /** The first single value of this name. */
  get(name: string): string | undefined {
    const found = this.#attributes.find((one) => one.name === name);
    return typeof found?.value === 'string' ? found.value : undefined;
  }

  vectors(name: string): Vector[] {
    return this.#attributes.flatMap((one) =>
      one.name === name && typeof one.value !== 'string' ? [one.value] : [],
    );
  }

  replace(name: string, value: string | Vector): void {
    this.erase(name);
    this.add(name, value);
  }

  /** Removes all attributes of this name. */
  erase(name: string): void {
    this.#attributes = this.#attributes.filter((one) => one.name !== name);
  }

  /** Removes them and returns the first single value, '' without one. */
  take(name: string): string {
    const value = this.get(name) ?? '';
    this.erase(name);
    return value;
  }

  /** Takes over every attribute of `other`; equal names are replaced. An empty vector only removes. */
  merge(other: Template): void {
    for (const { name } of other.#attributes) this.erase(name);
    const kept = other
      .clone()
      .#attributes.filter(({ value }) => typeof value === 'string' || value.size > 0);
    this.#attributes.push(...kept);
  }

  clone(): Template {
    const copy = new Template();
    for (const { name, value } of this.#attributes) {
      copy.#attributes.push({ name, value: typeof value === 'string' ? value : new Map(value) });
    }
    return copy;
  }

  /** Whether the XML that oned keeps in its database would be well-formed. */
  isStorable(): boolean {
    const good = (text: string): boolean => !text.includes(']]>') && !hasForbidden(text);
    return this.#attributes.every(({ value }) =>
      typeof value === 'string' ? good(value) : [...value.values()].every(good),
    );
  }

  toXml(root: string): string {
    const inner = this.all().map(({ name, value }) =>
      typeof value === 'string'
        ? `<${name}>${cdata(value)}</${name}>`
        : `<${name}>${[...value]
            .sort((a, b) => byName(a[0], b[0]))
            .map(([key, text]) => `<${key}>${cdata(text)}</${key}>`)
            .join('')}</${name}>`,
    );
    return `<${root}>${inner.join('')}</${root}>`;
  }
}

/**
 * A template written as XML. An element with exactly one text or CDATA node is a single attribute, one
 * with elements inside is a vector of those elements' first texts, anything else is dropped: that is
 * how oned loses empty elements and values that mix text with CDATA.
 */
export function templateFromElement(root: Element): Template {
  const template = new Template();
  for (const element of elements(root)) {
    const [first, second] = element.children;
    if (first && !second && (first.kind === 'text' || first.kind === 'cdata')) {
      template.add(element.name, first.text);
      continue;
    }
    const members = elements(element);
    if (members.length === 0) continue;
    const vector: Vector = new Map();
    for (const member of members) {
      const text = member.children[0];
      if (text?.kind === 'text' || text?.kind === 'cdata') vector.set(member.name, text.text);
    }
    template.add(element.name, vector);
  }
  return template;
}

/** @throws Failure 8192 with oned's words. */
export function templateFromXml(source: string): Template {
  try {
    return templateFromElement(parseXml(source));
  } catch (error) {
    if (error instanceof XmlError) throw internal('Parse error: XML Template malformed.');
    throw error;
  }
}
