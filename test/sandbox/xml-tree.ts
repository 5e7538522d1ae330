// A strict little XML parser: what expat and libxml2 accept inside oned, no more. It keeps text and
// CDATA apart, because oned treats them differently, and shares no code with the tool under test.

export interface Element {
  readonly name: string;
  readonly children: Node[];
}

/** Text and CDATA of one kind that touch each other are one node, as in libxml2. */
export type Node =
  | { readonly kind: 'element'; readonly element: Element }
  | { kind: 'text' | 'cdata' | 'other'; text: string };

export class XmlError extends Error {
  override readonly name = 'XmlError';
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};
const nameStart = /[A-Za-z_:\u00c0-\uffff]/;
const nameEnd = /[^A-Za-z0-9_:.\-\u00b7-\uffff]/g;

/** XML 1.0 has no control characters but tab, newline and carriage return, also not as references. */
export function hasForbidden(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 32 ? code !== 9 && code !== 10 && code !== 13 : code >= 0xfffe) return true;
  }
  return false;
}

function decode(text: string): string {
  return text.replace(/&([^;&]*);?/g, (whole, name: string) => {
    const numeric = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(name);
    const value = numeric
      ? String.fromCodePoint(numeric[1] ? parseInt(numeric[1], 16) : Number(numeric[2]))
      : entities[name];
    if (value === undefined || !whole.endsWith(';') || hasForbidden(value)) {
      throw new XmlError(`not well-formed (invalid token) at '${whole.slice(0, 10)}'`);
    }
    return value;
  });
}

function append(parent: Element, kind: 'text' | 'cdata', text: string): void {
  const last = parent.children.at(-1);
  if (last?.kind === kind) last.text += text;
  else if (text !== '' || kind === 'cdata') parent.children.push({ kind, text });
}

/** Parses a document. @throws XmlError when it is not well-formed or has a DOCTYPE. */
export function parseXml(source: string): Element {
  const text = source.replace(/\r\n?/g, '\n');
  if (hasForbidden(text)) throw new XmlError('not well-formed (invalid token)');
  const outside: Element = { name: '', children: [] };
  const open: Element[] = [outside];
  let at = 0;

  const until = (mark: string, from: number): number => {
    const end = text.indexOf(mark, from);
    if (end < 0) throw new XmlError(`unclosed token at '${text.slice(at, at + 9)}...'`);
    return end;
  };

  while (at < text.length) {
    const parent = open.at(-1)!;
    if (text[at] !== '<') {
      const next = text.indexOf('<', at);
      const end = next < 0 ? text.length : next;
      const raw = text.slice(at, end);
      if (raw.includes(']]>')) throw new XmlError("']]>' in text");
      if (parent !== outside) append(parent, 'text', decode(raw));
      else if (raw.trim() !== '') throw new XmlError('junk outside the document element');
      at = end;
    } else if (text.startsWith('<![CDATA[', at)) {
      const end = until(']]>', at);
      if (parent === outside) throw new XmlError('junk outside the document element');
      append(parent, 'cdata', text.slice(at + 9, end));
      at = end + 3;
    } else if (text.startsWith('<!--', at)) {
      at = until('-->', at + 4) + 3;
      parent.children.push({ kind: 'other', text: '' });
    } else if (text.startsWith('<?', at)) {
      at = until('?>', at) + 2;
      parent.children.push({ kind: 'other', text: '' });
    } else if (text.startsWith('</', at)) {
      const end = until('>', at);
      const name = text.slice(at + 2, end).trimEnd();
      if (open.length < 2 || open.pop()!.name !== name) throw new XmlError('mismatched tag');
      at = end + 1;
    } else {
      if (!nameStart.test(text[at + 1] ?? ''))
        throw new XmlError('not well-formed (invalid token)');
      const end = until('>', at);
      const tag = text.slice(at + 1, end);
      nameEnd.lastIndex = 0;
      const name = tag.slice(0, nameEnd.exec(tag)?.index ?? tag.length);
      const element: Element = { name, children: [] };
      if (parent === outside && outside.children.some((one) => one.kind === 'element')) {
        throw new XmlError('junk after document element');
      }
      parent.children.push({ kind: 'element', element });
      if (!tag.endsWith('/')) open.push(element);
      at = end + 1;
    }
  }
  const root = elements(outside)[0];
  if (open.length > 1 || !root) throw new XmlError('no element found');
  return root;
}

/** The element children, in order. */
export function elements(element: Element): Element[] {
  return element.children.flatMap((one) => (one.kind === 'element' ? [one.element] : []));
}

/** All text below an element's own level. */
export function textOf(element: Element): string {
  return element.children
    .map((one) => (one.kind === 'text' || one.kind === 'cdata' ? one.text : ''))
    .join('');
}
