// XML from outside becomes a tree, with every value exactly as it was written. The only user of
// fast-xml-parser. Nothing is expanded but the five named references and character numbers.
import { XMLParser } from 'fast-xml-parser';
import { UsageError } from '../report/errors.ts';
import { findReferenceFault, findXmlFault } from './xml-scan.ts';
import { maxXmlBytes, type XmlElement } from './xml.ts';

// A blank before each name keeps names such as `__proto__`, which the parser refuses, plain text.
const namePrefix = ' ';

const attributesKey = ':@';

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: namePrefix,
  parseAttributeValue: false,
  trimValues: false,
  parseTagValue: false,
  // References are decoded below: the parser does not know `&#10;` and has limits of its own.
  processEntities: false,
  cdataPropName: '#cdata',
  ignoreDeclaration: true,
  // The scan has counted the depth.
  maxNestedTags: Infinity,
  jPath: false,
  // Called twice for a self-closed element.
  transformTagName: (name) => (name.startsWith(namePrefix) ? name : namePrefix + name),
});

export interface ParseOptions {
  /** Keeps the attributes of elements. Without it they are checked and dropped. */
  readonly attributes?: boolean;
}

/**
 * Parses one XML document. Attributes are dropped unless they are asked for; white space between elements is
 * dropped; text and CDATA of an element without children are joined as they are, untrimmed. Line ends
 * become `\n` (XML 1.0, 2.11).
 * @param what what the bytes are, for the error message: `the VM's XML`
 * @throws UsageError with line and column when the document is too large, not UTF-8, not
 *   well-formed, or has a document type, a processing instruction or text beside elements
 */
export function parseXml(bytes: Buffer, what: string, options: ParseOptions = {}): XmlElement {
  const text = decodeUtf8(bytes, what);
  const found = findXmlFault(text);
  if (found) {
    throw new UsageError(
      `${what} is not usable as XML: ${position(text, found.index)}: ${found.fault}`,
    );
  }
  const [root] = parser.parse(text) as Node[];
  if (!root) throw new UsageError(`${what} is not usable as XML: there is no element`);
  return toElement(root, what, options.attributes === true);
}

function decodeUtf8(bytes: Buffer, what: string): string {
  if (bytes.length > maxXmlBytes) {
    throw new UsageError(
      `${what} has ${bytes.length} bytes; more than ${maxXmlBytes} are not accepted`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UsageError(`${what} is not UTF-8 text`, { cause: error });
  }
}

function position(text: string, index: number): string {
  const lines = text.slice(0, index).split(/\r\n|\r|\n/);
  return `line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1}`;
}

/** fast-xml-parser's ordered form: an object with one key, the name, `#text` or `#cdata`. */
type Node = Readonly<Record<string, string | readonly Node[]>>;

function toElement(node: Node, what: string, withAttributes: boolean): XmlElement {
  const [[key, content] = ['', []]] = Object.entries(node);
  const name = key.slice(namePrefix.length);
  const children: XmlElement[] = [];
  let text = '';
  for (const one of content as readonly Node[]) {
    if ('#text' in one) text += decodeReferences(one['#text'] as string);
    else if ('#cdata' in one) text += cdataText(one['#cdata'] as readonly Node[]);
    else children.push(toElement(one, what, withAttributes));
  }
  const attributes = withAttributes ? attributesOf(node, what) : {};
  if (children.length === 0) return { name, text, children, ...attributes };
  if (/[^ \t\r\n]/.test(text)) {
    throw new UsageError(`${what} is not usable: ${name} has text beside its elements`);
  }
  return { name, text: '', children, ...attributes };
}

function attributesOf(node: Node, what: string): Pick<XmlElement, 'attributes'> {
  const found = node[attributesKey] as Readonly<Record<string, string>> | undefined;
  if (!found) return {};
  const entries = Object.entries(found).map(([name, value]) => {
    const fault = findReferenceFault(value);
    if (fault !== undefined) {
      throw new UsageError(`${what} is not usable as XML: an attribute: ${fault}`);
    }
    return [name.slice(namePrefix.length), decodeReferences(value)] as const;
  });
  return { attributes: new Map(entries) };
}

function cdataText([content]: readonly Node[]): string {
  return content?.['#text'] as string;
}

const named: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
};

/** Every reference is one the scan has accepted. */
function decodeReferences(text: string): string {
  return text.replaceAll(
    /&(?:#x([0-9A-Fa-f]+)|#([0-9]+)|([a-z]+));/g,
    (whole, hex, decimal, name) => {
      if (typeof hex === 'string') return String.fromCodePoint(parseInt(hex, 16));
      if (typeof decimal === 'string') return String.fromCodePoint(Number(decimal));
      return named[String(name)] ?? whole;
    },
  );
}
