// Reads XML 1.0 strictly, in one pass over the markup from front to back. It stops at the first fault, and reports what it
// finds to a visitor.
// Grammar: XML 1.0 (fifth edition), https://www.w3.org/TR/xml/.

/** Deeper than any XML of OpenNebula or libvirt. */
const maxDepth = 50;

/**
 * Far more elements than a VM's XML has (some hundred, and forty for each disk). The limit is needed because an element takes
 * many times its bytes in memory.
 */
const mostElements = 100_000;

/**
 * Characters of one tag with its attributes. A regular expression that goes back over millions of characters can use up
 * V8's stack for that, and then throws.
 */
const longestTag = 1024 * 1024;

/** Characters that XML 1.0 cannot contain in any form: most control characters, U+FFFE, U+FFFF, lone surrogates. */
export const notXmlCharacter = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

/** Names of XML 1.0 (2.3), without a few rare characters; oned's own names have only A-Z, 0-9, _ and -. */
export const xmlName = /^[\p{L}_:][\p{L}\p{N}_:.-]*$/u;

/** What is wrong, and the index of it in the text. */
export interface XmlFault {
  readonly index: number;
  readonly fault: string;
}

// `S` is white space. `N` is everything up to the character that ends a name; xmlName checks it afterwards.
const pattern = (source: string, flags: string): RegExp =>
  new RegExp(
    source.replaceAll('S', '[ \\t\\r\\n]').replaceAll('N', '[^ \\t\\r\\n<>"\'/=!?]+'),
    flags,
  );

const declaration = pattern(
  `^<\\?xmlS+versionS*=S*["']1\\.0["'](?:S+encodingS*=S*["']([\\w.-]+)["'])?(?:S+standaloneS*=S*["'](?:yes|no)["'])?S*\\?>`,
  '',
);
const startTag = pattern(`^<(N)((?:S+NS*=S*(?:"[^"<]*"|'[^'<]*')){0,64})S*(/?)>`, '');
const endTag = pattern(`^</(N)S*>`, '');
const attribute = pattern(`(N)S*=S*(?:"([^"]*)"|'([^']*)')`, 'g');
const reference = /&(?:lt|gt|amp|quot|apos|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));/y;

/** Receives the content of a document in order. When walkXml returns a fault, everything it received is invalid. */
export interface XmlVisitor {
  /**
   * @param attributes as they are written; their references are not checked yet
   * @param from the index of the tag in the text
   */
  start(name: string, attributes: string, from: number): void;
  /** @param to the index after the element */
  end(to: number): void;
  /** Text with its references, which are all valid. */
  text(raw: string): void;
  /** The content of a CDATA section. */
  cdata(content: string): void;
}

/**
 * Walks through a document.
 * @returns its first fault; undefined when it is well-formed and has only what is accepted
 */
export function walkXml(
  text: string,
  visitor: XmlVisitor,
  maxElements = mostElements,
): XmlFault | undefined {
  const illegal = notXmlCharacter.exec(text);
  if (illegal) return { index: illegal.index, fault: 'a character that XML cannot carry' };
  const declared = readDeclaration(text);
  if (typeof declared !== 'number') return { index: 0, ...declared };

  const open: string[] = [];
  let elements = 0;
  let at = declared;
  while (at < text.length) {
    const next = text.indexOf('<', at);
    const to = next === -1 ? text.length : next;
    const inText = findTextFault(text, at, to, open.length > 0);
    if (inText) return inText;
    if (open.length > 0 && to > at) visitor.text(text.slice(at, to));
    if (next === -1) break;

    const step = readMarkup(text, next, open, elements === 0, visitor);
    if ('fault' in step) return { index: next, ...step };
    at = step.end;
    if (step.element && ++elements > maxElements) {
      return { index: next, fault: `more than ${maxElements} elements` };
    }
  }
  if (elements === 0) return { index: text.length, fault: 'there is no element' };
  const last = open.at(-1);
  if (last !== undefined) return { index: text.length, fault: `<${last}> is not closed` };
  return undefined;
}

/** What is wrong with the markup that was read. */
type Wrong = Pick<XmlFault, 'fault'>;

/** Index after the declaration, 0 when there is none, or what is wrong with it. */
function readDeclaration(text: string): number | Wrong {
  if (!/^<\?xml[ \t\r\n]/.test(text)) return 0;
  const [whole, encoding = 'UTF-8'] = declaration.exec(text.slice(0, longestTag)) ?? [];
  if (whole === undefined) return { fault: 'not an XML 1.0 declaration' };
  if (!/^(?:utf-8|us-ascii)$/i.test(encoding))
    return { fault: `encoding ${encoding}, expected UTF-8` };
  return whole.length;
}

/** Reads the markup at `from`, and updates `open`. @returns the index where it ends, or what is wrong */
function readMarkup(
  text: string,
  from: number,
  open: string[],
  first: boolean,
  visitor: XmlVisitor,
): { readonly end: number; readonly element: boolean } | Wrong {
  const upTo = (mark: string, start: number): { end: number; element: false } | undefined => {
    const found = text.indexOf(mark, start);
    return found === -1 ? undefined : { end: found + mark.length, element: false };
  };
  if (text.startsWith('<!--', from))
    return upTo('-->', from + 4) ?? { fault: 'a comment that does not end' };
  if (text.startsWith('<![CDATA[', from)) {
    if (open.length === 0) return { fault: 'text outside the root element' };
    const section = upTo(']]>', from + 9);
    if (section) visitor.cdata(text.slice(from + 9, section.end - 3));
    return section ?? { fault: 'a CDATA section that does not end' };
  }
  if (text[from + 1] === '!')
    return { fault: 'document types and entity declarations are not accepted' };
  if (text[from + 1] === '?') return { fault: 'processing instructions are not accepted' };

  if (text[from + 1] === '/') {
    const [whole, name] = endTag.exec(text.slice(from, from + longestTag)) ?? [];
    if (whole === undefined) return { fault: 'not a complete tag' };
    const expected = open.pop();
    if (name !== expected) {
      return {
        fault: `</${name ?? ''}> where ${expected === undefined ? 'nothing is open' : `<${expected}> is open`}`,
      };
    }
    visitor.end(from + whole.length);
    return { end: from + whole.length, element: false };
  }

  const tag = startTag.exec(text.slice(from, from + longestTag));
  const [whole, name = '', attributes = '', closed] = tag ?? [];
  if (whole === undefined) return { fault: 'not a complete tag' };
  if (!xmlName.test(name)) return { fault: `${JSON.stringify(name)} is not a name` };
  const names = [...readAttributes(attributes)].map(([key]) => key);
  if (new Set(names).size < names.length || !names.every((key) => xmlName.test(key))) {
    return { fault: `the attributes of <${name}> are not well-formed` };
  }
  if (open.length === 0 && !first) return { fault: 'a second root element' };
  if (closed !== '/' && open.push(name) > maxDepth) {
    return { fault: `elements nested more than ${maxDepth} deep` };
  }
  visitor.start(name, attributes, from);
  if (closed === '/') visitor.end(from + whole.length);
  return { end: from + whole.length, element: true };
}

/** Names and values, as they are written. */
export function* readAttributes(text: string): Generator<readonly [name: string, value: string]> {
  if (text === '') return;
  for (const [, name = '', double, single] of text.matchAll(attribute)) {
    yield [name, double ?? single ?? ''];
  }
}

/** Checks the text between two pieces of markup: its references must be valid, and outside the root it must be blank. */
function findTextFault(
  text: string,
  from: number,
  to: number,
  insideRoot: boolean,
): XmlFault | undefined {
  if (from === to) return undefined;
  const piece = text.slice(from, to);
  if (!insideRoot) {
    const index = piece.search(/[^ \t\r\n]/);
    if (index === -1) return undefined;
    return { index: from + index, fault: 'text outside the root element' };
  }
  const end = piece.indexOf(']]>');
  if (end !== -1) return { index: from + end, fault: '"]]>" outside a CDATA section' };
  const bad = findReference(piece);
  return bad && { index: from + bad.index, fault: bad.fault };
}

/** What is wrong with the references of a text or an attribute's value. */
export function findReferenceFault(text: string): string | undefined {
  return findReference(text)?.fault;
}

function findReference(piece: string): XmlFault | undefined {
  for (let and = piece.indexOf('&'); and !== -1; and = piece.indexOf('&', and + 1)) {
    reference.lastIndex = and;
    const found = reference.exec(piece);
    const [, decimal, hex] = found ?? [];
    const code = hex !== undefined ? parseInt(hex, 16) : Number(decimal ?? 32);
    if (!found || code > 0x10ffff || notXmlCharacter.test(String.fromCodePoint(code))) {
      return { index: and, fault: 'a reference that stands for no character' };
    }
  }
  return undefined;
}
