// XML from outside becomes a tree, with every value exactly as it was written. Nothing is expanded but the
// five named references and character numbers. docs/decisions/0015-xml-parser.md says why this is our own.
import { UsageError } from '../report/errors.ts';
import { findReferenceFault, readAttributes, walkXml, type XmlVisitor } from './xml-scan.ts';
import { maxXmlBytes, type XmlElement } from './xml.ts';

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
  const builder = new TreeBuilder(what, options.attributes === true);
  const found = walkXml(text, builder);
  if (found) {
    throw new UsageError(
      `${what} is not usable as XML: ${position(text, found.index)}: ${found.fault}`,
    );
  }
  if (!builder.root) throw new UsageError(`${what} is not usable as XML: there is no element`);
  return builder.root;
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

/** An element whose end was not seen yet. */
interface OpenElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string> | undefined;
  readonly children: XmlElement[];
  /** Texts and CDATA sections. */
  readonly texts: string[];
}

class TreeBuilder implements XmlVisitor {
  root: XmlElement | undefined;
  readonly #what: string;
  readonly #withAttributes: boolean;
  readonly #open: OpenElement[] = [];
  /** There are few names and many elements: each name is kept once. */
  readonly #names = new Map<string, string>();

  constructor(what: string, withAttributes: boolean) {
    this.#what = what;
    this.#withAttributes = withAttributes;
  }

  start(written: string, attributes: string): void {
    const name = this.#names.get(written) ?? written;
    if (name === written) this.#names.set(written, written);
    this.#open.push({
      name,
      attributes: this.#withAttributes ? this.#attributes(attributes) : undefined,
      children: [],
      texts: [],
    });
  }

  text(raw: string): void {
    this.#open.at(-1)?.texts.push(decodeReferences(raw));
  }

  cdata(content: string): void {
    this.#open.at(-1)?.texts.push(lineEnds(content));
  }

  end(): void {
    const ended = this.#open.pop();
    if (!ended) return;
    const { name, texts, children, attributes } = ended;
    const text = texts.length === 1 ? (texts[0] ?? '') : texts.join('');
    if (children.length > 0 && /[^ \t\r\n]/.test(text)) {
      throw new UsageError(`${this.#what} is not usable: ${name} has text beside its elements`);
    }
    const element = {
      name,
      text: children.length > 0 ? '' : text,
      children,
      ...(attributes && { attributes }),
    };
    const parent = this.#open.at(-1);
    if (parent) parent.children.push(element);
    else this.root = element;
  }

  #attributes(written: string): ReadonlyMap<string, string> | undefined {
    const found = new Map<string, string>();
    for (const [name, value] of readAttributes(written)) {
      const fault = findReferenceFault(value);
      if (fault !== undefined) {
        throw new UsageError(`${this.#what} is not usable as XML: an attribute: ${fault}`);
      }
      found.set(name, decodeReferences(value));
    }
    return found.size > 0 ? found : undefined;
  }
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

/** Joined in groups, since a text may have millions of references. */
const partsAtOnce = 10_000;

/** Every reference is one the walk has accepted. */
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

/** What a reference stands for, given without `&` and `;`. */
function character(reference: string): string {
  if (reference.startsWith('#x')) return String.fromCodePoint(parseInt(reference.slice(2), 16));
  if (reference.startsWith('#')) return String.fromCodePoint(Number(reference.slice(1)));
  return named[reference] ?? '';
}
