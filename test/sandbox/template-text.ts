// oned's KEY="value" template language, with its quirks: only \" is unescaped, a quoted value runs to
// the last quote it can end at, and a line with ]]> is refused. Source: template_parser.l and
// template_syntax.y, OpenNebula 6.10.5.
import { internal } from './failure.ts';
import { Release } from './release.ts';
import { Template, templateFromXml } from './template.ts';
import type { Vector } from './template.ts';

type TokenName =
  'EQUAL' | 'COMMA' | 'OBRACKET' | 'CBRACKET' | 'EQUAL_EMPTY' | 'CCDATA' | 'STRING' | 'VARIABLE';

interface Token {
  readonly name: TokenName | '$end';
  readonly text: string;
}

/** Rules of flex's INITIAL state, in its order; the longest match wins, then the first. */
const initialRules: readonly (readonly [TokenName | 'skip', RegExp])[] = [
  ['skip', /[ \t]*#.*\n/y],
  ['skip', /[ \t\n]+/y],
  ['VARIABLE', /[A-Za-z0-9_]+/y],
  ['EQUAL', /[ \t]*=[ \t]*/y],
  ['EQUAL_EMPTY', /[ \t]*=[ \t]*\n/y],
  ['COMMA', /[ \t\n]*,[ \t\n]*/y],
  ['CBRACKET', /[ \t\n]*\][ \t\n]*/y],
];
const valueRules: readonly (readonly [TokenName, RegExp])[] = [
  ['OBRACKET', /[ \t]*\[[ \t\n]*/y],
  ['CCDATA', /.*\]\]>.*/y],
  ['STRING', /[^=# \t\n,[\]]+/y],
];

/** The end of the quoted value that starts at `start`: behind the last quote it may end at. */
function quotedEnd(source: string, start: number): number {
  let possible = -1;
  for (let at = source.indexOf('"', start + 1); at >= 0; at = source.indexOf('"', at + 1)) {
    if (at === start + 1 || source[at - 1] !== '\\') return at + 1;
    possible = at + 1;
  }
  return possible;
}

class Lexer {
  readonly #source: string;
  #at = 0;
  #inValue = false;
  #tokenStart = 0;

  constructor(source: string) {
    this.#source = source;
  }

  next(): Token {
    for (;;) {
      if (this.#at >= this.#source.length) return { name: '$end', text: '' };
      this.#tokenStart = this.#at;
      const { name, text, value } = this.#match();
      this.#at += text.length;
      if (name === undefined || name === 'skip') continue;
      this.#inValue = name === 'EQUAL';
      return { name, text: value };
    }
  }

  /** Where the last token stood, in oned's way: lines count from 0, columns never start anew. */
  get place(): string {
    const line = this.#source.slice(0, this.#at).split('\n').length - 1;
    return `line ${line}, columns ${this.#tokenStart + 1}:${this.#at + 1}`;
  }

  #match(): { name: TokenName | 'skip' | undefined; text: string; value: string } {
    let best: { name: TokenName | 'skip' | undefined; text: string; value: string } = {
      name: undefined,
      text: this.#source[this.#at] ?? '',
      value: '',
    };
    let length = 0;
    for (const [name, rule] of this.#inValue ? valueRules : initialRules) {
      rule.lastIndex = this.#at;
      const text = rule.exec(this.#source)?.[0];
      if (text !== undefined && text.length > length) {
        best = { name, text, value: text };
        length = text.length;
      }
    }
    if (this.#inValue && this.#source[this.#at] === '"') {
      const text = this.#source.slice(this.#at, quotedEnd(this.#source, this.#at));
      const longer = text.length > length || (text.length === length && best.name === 'STRING');
      if (quotedEnd(this.#source, this.#at) > 0 && longer) {
        best = { name: 'STRING', text, value: text.slice(1, -1) };
      }
    }
    return best;
  }
}

function unescape(value: string): string {
  return value.replaceAll('\\"', '"');
}

function parseText(source: string): Template {
  const template = new Template();
  const lexer = new Lexer(source);

  const expect = (token: Token, ...wanted: readonly (TokenName | '$end')[]): Token => {
    if (wanted.includes(token.name)) return token;
    throw internal(
      `Parse error: syntax error, unexpected ${token.name}, expecting ${wanted.join(' or ')} at ${lexer.place}`,
    );
  };

  const vector = (): Vector => {
    const values: Vector = new Map();
    let token = expect(lexer.next(), 'CBRACKET', 'VARIABLE');
    while (token.name !== 'CBRACKET') {
      expect(token, 'VARIABLE');
      const name = token.text.toUpperCase();
      expect(lexer.next(), 'EQUAL');
      const value = unescape(expect(lexer.next(), 'STRING').text);
      if (!values.has(name)) values.set(name, value);
      token = expect(lexer.next(), 'COMMA', 'CBRACKET');
      if (token.name === 'COMMA') token = expect(lexer.next(), 'VARIABLE');
    }
    return values;
  };

  for (;;) {
    const name = expect(lexer.next(), '$end', 'VARIABLE');
    if (name.name === '$end') return template;
    if (expect(lexer.next(), 'EQUAL', 'EQUAL_EMPTY').name === 'EQUAL_EMPTY') {
      template.add(name.text, '');
      continue;
    }
    const value = expect(lexer.next(), 'OBRACKET', 'CCDATA', 'STRING');
    if (value.name === 'CCDATA') throw internal('Parse error.');
    template.add(name.text, value.name === 'STRING' ? unescape(value.text) : vector());
  }
}

/**
 * A template as clients send it: XML when it begins with '<', else text. NAME is trimmed; from 7.4.0 on all
 * values are (Template::parse_str_or_xml, read in 6.10.5, 7.2.0 and 7.4.0).
 */
export function parseTemplate(source: string, release: Release = new Release()): Template {
  const template = source.startsWith('<') ? templateFromXml(source) : parseText(source);
  if (release.atLeast('7.4.0')) template.trim();
  const name = template.get('NAME');
  if (name !== undefined) template.replace('NAME', name.trim());
  return template;
}
