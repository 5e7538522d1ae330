// Writes trees as XML in the form that oned itself writes: every value is one CDATA section. Only this form is read back
// unchanged, because oned's parser drops an attribute whose value has two pieces, and an empty one that is not CDATA
// (OpenNebula's Template.cc, single_xml_att, 6.4 to 7.4).
import { UsageError } from '../report/errors.ts';
import { notXmlCharacter, xmlName } from './xml-scan.ts';
import type { XmlElement } from './xml.ts';

/**
 * The element as XML text without a declaration, from which `parseXml` and oned read the same tree.
 * @throws UsageError that names the attribute, when a name is not an XML name, or a value contains `]]>` or a character that
 *   XML cannot carry: oned refuses these in any form
 */
export function writeXml(element: XmlElement): string {
  return write(element, []);
}

function write({ name, text, children }: XmlElement, parents: readonly string[]): string {
  const path = [...parents, name];
  if (!xmlName.test(name)) {
    throw new UsageError(`cannot write XML: ${JSON.stringify(name)} is not a name of an element`);
  }
  if (children.length === 0) return `<${name}>${writeValue(text, path)}</${name}>`;
  if (text !== '') {
    throw new UsageError(`cannot write XML: ${path.join('/')} has text beside its elements`);
  }
  return `<${name}>${children.map((child) => write(child, path)).join('')}</${name}>`;
}

function writeValue(value: string, path: readonly string[]): string {
  const illegal = notXmlCharacter.exec(value);
  if (illegal) {
    const code = (illegal[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    throw new UsageError(
      `the value of ${path.join('/')} holds the character U+${code}, which XML cannot carry`,
    );
  }
  if (value.includes(']]>')) {
    throw new UsageError(
      `the value of ${path.join('/')} holds "]]>", which OpenNebula does not accept`,
    );
  }
  // A parser keeps a carriage return only when it is a reference, and CDATA cannot contain references.
  if (value.includes('\r')) {
    return value
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('\r', '&#13;');
  }
  return `<![CDATA[${value}]]>`;
}
