// The wire's one-line XML with line breaks, as OpenNebula's clients and hooks show it.
import { cdata } from './template.ts';
import { elements, parseXml, textOf } from './xml-tree.ts';
import type { Element } from './xml-tree.ts';

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function lines(element: Element, indent: string): string[] {
  const { name } = element;
  const inner = elements(element);
  if (inner.length > 0) {
    const deeper = inner.flatMap((one) => lines(one, `${indent}  `));
    return [`${indent}<${name}>`, ...deeper, `${indent}</${name}>`];
  }
  if (element.children.length === 0) return [`${indent}<${name}/>`];
  const marked = element.children.some((one) => one.kind === 'cdata');
  const text = marked ? cdata(textOf(element)) : escape(textOf(element));
  return [`${indent}<${name}>${text}</${name}>`];
}

/** No line break at the end, as in what hooks get. @throws XmlError when it is not well-formed. */
export function prettyXml(xml: string): string {
  return lines(parseXml(xml), '').join('\n');
}
