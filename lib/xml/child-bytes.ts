// Cuts an element out of a document that was parsed, byte for byte.
import { UsageError } from '../report/errors.ts';
import { decodeUtf8 } from './xml-parse.ts';
import { walkXml, type XmlVisitor } from './xml-scan.ts';
import { maxXmlBytes } from './xml.ts';

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Returns the first child of the root that has this name, as it is in the document.
 * @param what the document's name for error messages
 * @throws UsageError when there is none
 */
export function childBytes(document: Buffer, name: string, what: string): Buffer {
  const text = decodeUtf8(document, what, maxXmlBytes);
  const finder = new ChildFinder(name);
  const fault = walkXml(text, finder);
  const { from, to } = finder;
  if (fault || to === undefined) throw new UsageError(`${what} has no ${name}`);
  // The text has no byte order mark, which is no part of the document.
  const start = document.subarray(0, 3).equals(byteOrderMark) ? byteOrderMark.length : 0;
  const place = (index: number): number => start + Buffer.byteLength(text.slice(0, index));
  return Buffer.from(document.subarray(place(from), place(to)));
}

class ChildFinder implements XmlVisitor {
  from = -1;
  to: number | undefined;
  #depth = 0;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  start(name: string, _attributes: string, from: number): void {
    if (this.#depth === 1 && this.from < 0 && name === this.#name) this.from = from;
    this.#depth += 1;
  }

  end(to: number): void {
    this.#depth -= 1;
    if (this.#depth === 1 && this.from >= 0) this.to ??= to;
  }

  text(): void {
    // Not needed.
  }

  cdata(): void {
    // Not needed.
  }
}
