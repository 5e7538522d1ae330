// XML documents as trees: read by xml-parse.ts, written by xml-write.ts.
// The tree keeps every value as exact text: it is not trimmed or turned into a number.

/** Bytes of the longest document that is accepted. A VM's XML has some tens of KiB, a page of a pool a few MiB. */
export const maxXmlBytes = 16 * 1024 * 1024;

/** An element: either text or children. `text` is '' for an element with children. */
export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
  /** Only when they were requested and the element has some: libvirt's XML has attributes, OpenNebula's has none. */
  readonly attributes?: ReadonlyMap<string, string>;
}

/** The first child with this name. */
export function child(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((candidate) => candidate.name === name);
}

/** All children with this name, in order. */
export function childrenOf(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.filter((candidate) => candidate.name === name);
}

/** The text of a child; undefined when there is no such child. */
export function childText(element: XmlElement, name: string): string | undefined {
  return child(element, name)?.text;
}

/** The text of a child; '' when the child is missing. */
export function textIn(parent: XmlElement, name: string): string {
  return childText(parent, name) ?? '';
}

/** The value of an attribute; undefined when there is none, or attributes were not requested. */
export function attribute(element: XmlElement | undefined, name: string): string | undefined {
  return element?.attributes?.get(name);
}
