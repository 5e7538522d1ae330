// Parses XML into a tree, with every value exactly as it was written. The only user of fast-xml-parser. Only the five named
// references and character references are expanded.
import { XMLParser } from 'fast-xml-parser';
import { UsageError } from '../report/errors.ts';
import { findReferenceFault, readAttributes, walkXml, type XmlVisitor } from './xml-scan.ts';
import { maxXmlBytes, type XmlElement } from './xml.ts';

// The parser refuses names such as `__proto__`, so a space is put before each name.
const namePrefix = ' ';

const attributesKey = ':@';

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: namePrefix,
  parseAttributeValue: false,
  trimValues: false,
  parseTagValue: false,
  // References are decoded in this file: the parser does not know `&#10;` and has limits of its own.
  processEntities: false,
  // walkXml has limited the depth.
  maxNestedTags: Infinity,
  jPath: false,
  transformTagName: (name) => namePrefix + name,
});

export interface ParseOptions {
  /** Keeps the attributes of elements; by default they are checked and dropped. */
  readonly attributes?: boolean;
  /** How many elements are accepted; by default the limit for hostile input. */
  readonly maxElements?: number;
  /** How many bytes are accepted; by default the limit for hostile input. */
  readonly maxBytes?: number;
}

/**
 * Parses one XML document. Attributes are dropped unless they are requested. White space between elements is dropped. Text and
 * CDATA of an element without children are joined without trimming. Line ends become `\n` (XML 1.0, 2.11).
 * @param what the document's name for error messages: `the VM's XML`
 * @throws UsageError with line and column, when the document is too large, not UTF-8, not well-formed, or has a document
 *   type, a processing instruction, or text beside elements
 */
export function parseXml(bytes: Buffer, what: string, options: ParseOptions = {}): XmlElement {
  const text = decodeUtf8(bytes, what, options.maxBytes ?? maxXmlBytes);
  const outline = new Outline(what, options.attributes === true);
  const found = walkXml(text, outline, options.maxElements);
  if (found) {
    throw new UsageError(
      `${what} is not usable as XML: ${position(text, found.index)}: ${found.fault}`,
    );
  }
  const [root] = parser.parse(outline.document) as Node[];
  if (!root) throw new UsageError(`${what} is not usable as XML: there is no element`);
  return toElement(root, what, outline.texts);
}

/** @throws UsageError when it is too large or not UTF-8 */
export function decodeUtf8(bytes: Buffer, what: string, maxBytes: number): string {
  if (bytes.length > maxBytes) {
    throw new UsageError(
      `${what} has ${bytes.length} bytes; more than ${maxBytes} are not accepted`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UsageError(`${what} is not UTF-8 text`, { cause: error });
  }
}

function position(text: string, index: number): string {
  let line = 1;
  let start = 0;
  for (let at = 0; at < index; at++) {
    const isEnd = text[at] === '\n' || (text[at] === '\r' && text[at + 1] !== '\n');
    if (!isEnd) continue;
    line += 1;
    start = at + 1;
  }
  return `line ${line}, column ${index - start + 1}`;
}

/** The number of a text in the outline. The semicolons separate adjacent texts. */
const tokenOf = (number: number): string => `;${number};`;

/**
 * The document with a number in place of each text. The parser makes an object of every character of a text, so it must not
 * get long texts (docs/decisions/0009-xml-parser.md).
 */
class Outline implements XmlVisitor {
  readonly texts: string[] = [];
  readonly #markup: string[] = [];
  readonly #open: string[] = [];
  readonly #what: string;
  readonly #withAttributes: boolean;

  constructor(what: string, withAttributes: boolean) {
    this.#what = what;
    this.#withAttributes = withAttributes;
  }

  get document(): string {
    return this.#markup.join('');
  }

  start(name: string, attributes: string): void {
    for (const [, value] of this.#withAttributes ? readAttributes(attributes) : []) {
      const fault = findReferenceFault(value);
      if (fault !== undefined) {
        throw new UsageError(`${this.#what} is not usable as XML: an attribute: ${fault}`);
      }
    }
    this.#open.push(name);
    this.#markup.push(`<${name}${this.#withAttributes ? attributes : ''}>`);
  }

  end(): void {
    this.#markup.push(`</${this.#open.pop() ?? ''}>`);
  }

  text(raw: string): void {
    this.#keep(decodeReferences(raw));
  }

  cdata(content: string): void {
    this.#keep(lineEnds(content));
  }

  #keep(text: string): void {
    this.#markup.push(tokenOf(this.texts.push(text) - 1));
  }
}

/** A node of fast-xml-parser's ordered form: an object with one key, the name or `#text`, and maybe attributes. */
type Node = Readonly<Record<string, string | readonly Node[]>>;

function toElement(node: Node, what: string, texts: readonly string[]): XmlElement {
  const [[key, content] = ['', []]] = Object.entries(node);
  const name = key.slice(namePrefix.length);
  const children: XmlElement[] = [];
  const numbers: string[] = [];
  for (const inner of content as readonly Node[]) {
    if ('#text' in inner) numbers.push(...(inner['#text'] as string).split(';').filter(Boolean));
    else children.push(toElement(inner, what, texts));
  }
  const text = numbers.map((number) => texts[Number(number)] ?? '').join('');
  const attributes = attributesOf(node);
  if (children.length === 0) return { name, text, children, ...attributes };
  if (/[^ \t\r\n]/.test(text)) {
    throw new UsageError(`${what} is not usable: ${name} has text beside its elements`);
  }
  return { name, text: '', children, ...attributes };
}

function attributesOf(node: Node): Pick<XmlElement, 'attributes'> {
  const found = node[attributesKey] as Readonly<Record<string, string>> | undefined;
  if (!found) return {};
  const entries = Object.entries(found).map(
    ([name, value]) => [name.slice(namePrefix.length), decodeAttribute(value)] as const,
  );
  return { attributes: new Map(entries) };
}

/** White space in an attribute is a space, unless it is written as a reference (XML 1.0, 3.3.3). */
function decodeAttribute(raw: string): string {
  return decodeReferences(lineEnds(raw).replaceAll(/[\t\n]/g, ' '));
}

function lineEnds(text: string): string {
  return text.includes('\r') ? text.replaceAll(/\r\n?/g, '\n') : text;
}

const named: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
};

/** Parts are joined in groups of this size, because a text may have millions of references. */
const partsAtOnce = 10_000;

/** Decodes the references of a text that walkXml has accepted. */
function decodeReferences(raw: string): string {
  const text = lineEnds(raw);
  if (!text.includes('&')) return text;
  const groups: string[] = [];
  let parts: string[] = [];
  let at = 0;
  for (let and = text.indexOf('&'); and !== -1; and = text.indexOf('&', at)) {
    const end = text.indexOf(';', and);
    parts.push(text.slice(at, and), character(text.slice(and + 1, end)));
    at = end + 1;
    if (parts.length < partsAtOnce) continue;
    groups.push(parts.join(''));
    parts = [];
  }
  return groups.join('') + parts.join('') + text.slice(at);
}

/** The character of a reference. @param reference without `&` and `;` */
function character(reference: string): string {
  if (reference.startsWith('#x')) return String.fromCodePoint(parseInt(reference.slice(2), 16));
  if (reference.startsWith('#')) return String.fromCodePoint(Number(reference.slice(1)));
  return named[reference] ?? '';
}
