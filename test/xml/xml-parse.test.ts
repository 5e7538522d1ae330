import { describe, expect, test } from '@jest/globals';
import type { XmlElement } from '../../lib/xml/xml.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { maxXmlBytes } from '../../lib/xml/xml.ts';
import { UsageError } from '../../lib/report/errors.ts';

const parse = (text: string): XmlElement => parseXml(Buffer.from(text), 'the document');
const leaf = (text: string): string => parse(`<A>${text}</A>`).text;

describe('values', () => {
  test.each([
    ['text as it is, with its blanks', '  a  b ', '  a  b '],
    ['CDATA as it is', '<![CDATA[ <b> &amp; ]] > ]]>', ' <b> &amp; ]] > '],
    ['text and CDATA joined', 'a<![CDATA[b]]>c<![CDATA[]]>', 'abc'],
    ['the named references', '&lt;&gt;&amp;&quot;&apos;', `<>&"'`],
    ['character numbers', '&#10;&#x41;&#13;&#x1F600;', '\nA\r😀'],
    ['a reference decoded once only', '&amp;lt;&amp;#65;', '&lt;&#65;'],
    ['numbers as text', '007.10e3', '007.10e3'],
    ['an empty CDATA section', '<![CDATA[]]>', ''],
    ['a document type inside CDATA', '<![CDATA[<!DOCTYPE html>]]>', '<!DOCTYPE html>'],
    ['comments left out', 'a<!-- <b> ]]> -->b', 'ab'],
    ['line ends as XML has them', 'a\r\nb\rc', 'a\nb\nc'],
    ['nothing expanded', '${HOME} %s \\n $(id)', '${HOME} %s \\n $(id)'],
    ['emoji and other planes', '😀𐍈ü€', '😀𐍈ü€'],
  ])('a text of XML is read: %s', (_, text, expected) => {
    expect(leaf(text)).toBe(expected);
  });

  test('a text of XML may have more references than the parser itself would expand', () => {
    expect(leaf('&lt;'.repeat(200_000))).toBe('<'.repeat(200_000));
  });
});

describe('the tree', () => {
  test('the XML parser keeps the order of children and repeated elements', () => {
    const root = parse('<A>\n <D>1</D>\n <C/>\n <D>2</D>\n</A>');
    expect(root.children.map(({ name, text }) => [name, text])).toEqual([
      ['D', '1'],
      ['C', ''],
      ['D', '2'],
    ]);
    expect(root.text).toBe('');
  });

  test.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '_'])(
    'the XML parser takes %s as a name like any other',
    (name) => {
      const root = parse(`<A><${name}>x</${name}><${name}/></A>`);
      expect(root.children).toEqual([
        { name, text: 'x', children: [] },
        { name, text: '', children: [] },
      ]);
      expect(({} as Record<string, unknown>)['x']).toBeUndefined();
    },
  );

  test('the XML parser keeps attributes where they are asked for, with their references decoded', () => {
    const text = `<a x='1' y="&lt;&#65;'"><b c=''/><d>e</d></a>`;
    const root = parseXml(Buffer.from(text), 'it', { attributes: true });
    expect(root.attributes).toEqual(
      new Map([
        ['x', '1'],
        ['y', "<A'"],
      ]),
    );
    expect(root.children[0]?.attributes).toEqual(new Map([['c', '']]));
    expect(root.children[1]).toEqual({ name: 'd', text: 'e', children: [] });
  });

  test.each(['&#x110000;', '&nothing;', '&'])(
    'the XML parser refuses %s in an attribute',
    (value) => {
      const text = Buffer.from(`<a b="${value}"/>`);
      expect(() => parseXml(text, 'it', { attributes: true })).toThrow('stands for no character');
    },
  );

  test('the XML parser drops attributes and a declaration, and accepts a byte order mark', () => {
    const root = parse(
      '\u{feff}<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<VM xmlns:x="u" x:y=\'a>b\'><ID>1</ID></VM>\n<!-- end -->\n',
    );
    expect(root).toEqual({
      name: 'VM',
      text: '',
      children: [{ name: 'ID', text: '1', children: [] }],
    });
  });
});

describe('refused, with line and column', () => {
  test.each([
    ['a document type', '<!DOCTYPE a [<!ENTITY x "y">]><A/>', 'line 1, column 1: document types'],
    ['a late document type', '<A>\n <!DOCTYPE a></A>', 'line 2, column 2: document types'],
    ['an entity declaration', '<A><!ENTITY x "y"></A>', 'line 1, column 4: document types'],
    ['a processing instruction', '<A><?php x?></A>', 'line 1, column 4: processing instr'],
    ['a late declaration', '\n<?xml version="1.0"?><A/>', 'line 2, column 1: processing instr'],
    ['XML 1.1', '<?xml version="1.1"?><A/>', 'not an XML 1.0 declaration'],
    ['another encoding', '<?xml version="1.0" encoding="ISO-8859-1"?><A/>', 'encoding ISO-8859-1'],
    ['an unknown reference', '<A>\r\n\r\n&nbsp;</A>', 'line 3, column 1: a reference'],
    ['a bare ampersand', '<A>a & b</A>', 'line 1, column 6: a reference'],
    ['a reference to NUL', '<A>&#0;</A>', 'a reference'],
    ['a reference to a surrogate', '<A>&#xD800;</A>', 'a reference'],
    ['a reference beyond Unicode', '<A>&#x110000;</A>', 'a reference'],
    ['a control character', '<A>\u{1b}[0m</A>', 'line 1, column 4: a character'],
    ['NUL', '<A>\0</A>', 'a character'],
    ['tags that do not match', '<A>\n<B></A></B>', 'line 2, column 4: </A> where <B> is open'],
    ['an element that is not closed', '<A><B></B>', '<A> is not closed'],
    ['an end tag too many', '<A/></A>', '</A> where nothing is open'],
    ['a second root', '<A/><B/>', 'line 1, column 5: a second root'],
    ['text before the root', 'x<A/>', 'text outside the root'],
    ['text after the root', '<A/>x', 'text outside the root'],
    ['CDATA after the root', '<A/><![CDATA[x]]>', 'text outside the root'],
    ['"]]>" in text', '<A>a]]>b</A>', 'line 1, column 5: "]]>"'],
    ['a cut tag', '<A><B', 'not a complete tag'],
    ['cut CDATA', '<A><![CDATA[x</A>', 'a CDATA section that does not end'],
    ['a cut comment', '<A><!-- </A>', 'a comment that does not end'],
    ['markup hidden in an attribute', '<A b="<!--"><!DOCTYPE a><C d="-->"/></A>', 'complete tag'],
    ['an attribute twice', '<A b="1" b="2"/>', 'attributes of <A>'],
    ['an attribute without quotes', '<A b=1/>', 'not a complete tag'],
    ['a name that is none', '<1A/>', '"1A" is not a name'],
    ['nothing', ' \n', 'there is no element'],
    ['no XML', 'VM 8', 'text outside the root'],
    ['deep nesting', '<A>'.repeat(51), 'nested more than 50 deep'],
    ['very many elements', `<A>${'<B/>'.repeat(100_001)}</A>`, 'more than 100000 elements'],
  ])('XML is refused with line and column: %s', (_, text, expected) => {
    expect(() => parse(text)).toThrow(UsageError);
    expect(() => parse(text)).toThrow(`the document is not usable as XML: `);
    expect(() => parse(text)).toThrow(expected);
  });

  test('XML is refused with line and column: fewer elements where the caller accepts more', () => {
    const many = Buffer.from(`<A>${'<B/>'.repeat(150_000)}</A>`);
    expect(parseXml(many, 'it', { maxElements: 2_000_000 }).children).toHaveLength(150_000);
  });

  test('XML is refused with line and column: text beside elements, since one of them would be lost', () => {
    expect(() => parse('<A><B>x<C/></B></A>')).toThrow('B has text beside its elements');
  });

  test('XML is refused with bytes that are not UTF-8', () => {
    const bytes = Buffer.concat([Buffer.from('<A>'), Buffer.from([0xe4]), Buffer.from('</A>')]);
    expect(() => parseXml(bytes, 'the document')).toThrow('the document is not UTF-8 text');
  });

  test('XML is refused with more than 16 MiB', () => {
    expect(() => parseXml(Buffer.alloc(maxXmlBytes + 1, ' '), 'it')).toThrow('are not accepted');
  });
});

test('hostile XML documents of 8 MiB are refused before the time limit of a test', () => {
  const size = 8 * 1024 * 1024;
  for (const [start, piece] of [
    ['', '<!--'],
    ['<A>', '< '],
    ['<A', ' '],
    ['<', 'A'],
    ['<A>', '</A '],
    ['<?xml ', ' '],
    ['', '<A '],
    ['<A', ' a="1"'],
    ['<A b="', `'"`],
    ['<A>', '<![CDATA['],
    ['<A>', '&'],
    ['<A>', '</'],
  ] as const) {
    const text = start + piece.repeat(size / piece.length);
    expect(() => parse(text)).toThrow(UsageError);
  }
});
