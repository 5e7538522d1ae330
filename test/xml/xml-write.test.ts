import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import type { XmlElement } from '../../lib/xml/xml.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { writeXml } from '../../lib/xml/xml-write.ts';
import { UsageError } from '../../lib/report/errors.ts';

const element = (name: string, text: string, children: XmlElement[] = []): XmlElement => ({
  name,
  text,
  children,
});

const names = fc.oneof(
  fc.stringMatching(/^[A-Z][A-Z0-9_]{0,8}$/),
  fc.stringMatching(/^[a-zA-Z_éλ][a-zA-Z0-9_.\-éλ]{0,8}$/),
  fc.constantFrom('__proto__', 'constructor', 'toString'),
);
const values = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.stringMatching(/^[ \t\r\n]{0,5}$/),
    fc
      .array(
        fc.constantFrom(
          ']]',
          ']',
          '>',
          '<![CDATA[',
          '&amp;',
          '&#13;',
          '\r\n',
          '\\',
          `'`,
          '"',
          '$()',
        ),
      )
      .map((parts) => parts.join('')),
  )
  .filter(
    (text) =>
      !text.includes(']]>') && !/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text),
  );
const { tree } = fc.letrec<{ tree: XmlElement }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.record({ name: names, text: values, children: fc.constant([]) }),
    fc.record({
      name: names,
      text: fc.constant(''),
      children: fc.array(tie('tree'), { minLength: 1, maxLength: 5 }),
    }),
  ),
}));

test('every XML tree that can be written reads back the same', () => {
  fc.assert(
    fc.property(tree, (written) => {
      expect(parseXml(Buffer.from(writeXml(written)), 'it')).toEqual(written);
    }),
    { numRuns: 2000 },
  );
});

test('another XML parser (expat) reads the trees that were written', () => {
  const trees = fc.sample(tree, { numRuns: 500, seed: 7 });
  const program = `
import json, sys
from xml.etree import ElementTree
def tree(e):
    children = [tree(c) for c in e]
    return {"name": e.tag, "text": "" if children else e.text or "", "children": children}
print(json.dumps([tree(ElementTree.fromstring(d)) for d in json.load(sys.stdin)]))`;
  const output = execFileSync('python3', ['-c', program], {
    input: JSON.stringify(trees.map((one) => writeXml(one))),
    maxBuffer: 1 << 26,
  });
  expect(JSON.parse(output.toString())).toEqual(JSON.parse(JSON.stringify(trees)));
});

test('each value is written as one CDATA section, as oned writes it, and an empty one too', () => {
  expect(writeXml(element('TEMPLATE', '', [element('NAME', 'a & b'), element('D', '')]))).toBe(
    '<TEMPLATE><NAME><![CDATA[a & b]]></NAME><D><![CDATA[]]></D></TEMPLATE>',
  );
});

test('a carriage return in a value is written as a reference, in one piece of text', () => {
  expect(writeXml(element('D', 'a<\r\n&'))).toBe('<D>a&lt;&#13;\n&amp;</D>');
});

describe('refused, naming the attribute', () => {
  const inside = (text: string): XmlElement =>
    element('VMTEMPLATE', '', [element('CONTEXT', '', [element('START_SCRIPT', text)])]);

  test.each([
    ['"]]>"', 'a]]>b', 'VMTEMPLATE/CONTEXT/START_SCRIPT holds "]]>"'],
    ['a control character', 'a\u{1}', 'CONTEXT/START_SCRIPT holds the character U+0001'],
    ['half a surrogate pair', 'a\u{d83d}', 'CONTEXT/START_SCRIPT holds the character U+D83D'],
    ['a character that is none', 'a\u{ffff}', 'holds the character U+FFFF'],
  ])('a value that XML cannot hold is refused with its attribute: %s', (_, text, expected) => {
    expect(() => writeXml(inside(text))).toThrow(UsageError);
    expect(() => writeXml(inside(text))).toThrow(expected);
  });

  test.each(['', 'A B', '1A', 'A>', 'A/><B', '-A'])(
    'a value that XML cannot hold is refused with its attribute: the name %j',
    (name) => {
      expect(() => writeXml(element('A', '', [element(name, 'x')]))).toThrow('is not a name');
    },
  );

  test('a value that XML cannot hold is refused with its attribute: text beside elements', () => {
    expect(() => writeXml(element('A', 'x', [element('B', '')]))).toThrow('A has text beside');
  });
});
