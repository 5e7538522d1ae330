// The tokens of variables in a VM's template. What no rule takes is dropped, as flex does.
// Source: vm_var_parser.l, equal in 6.4.7, 6.10.5 and 7.4.0.
import { VmError } from './vm-error.ts';

export type TokenName =
  | '$end'
  | 'RSTRING'
  | 'VARIABLE'
  | 'EQUAL'
  | 'COMMA'
  | 'OBRACKET'
  | 'CBRACKET'
  | 'STRING'
  /** The character behind a variable, none at the end of the text. */
  | 'EOA';

export interface Token {
  readonly name: TokenName;
  readonly text: string;
}

/** The longest match wins, then the first. */
const variableRules: readonly (readonly [TokenName, RegExp])[] = [
  ['EQUAL', /[ \t]*=[ \t]*/y],
  ['COMMA', /[ \t]*,[ \t]*/y],
  ['OBRACKET', /\[[ \t]*/y],
  ['CBRACKET', /[ \t]*\]/y],
  ['VARIABLE', /[A-Za-z0-9_]+/y],
  ['EOA', /[^\n]/y],
];

export class VariableLexer {
  readonly #source: string;
  #at = 0;
  #tokenStart = 0;
  #state: 'text' | 'variable' | 'value' = 'text';

  constructor(source: string) {
    this.#source = source;
  }

  /**
   * The next token. @throws VmError with oned's words when it is none of these. oned does not initialize the line
   * number, so it is 0 or any other.
   */
  expect(...wanted: readonly TokenName[]): Token {
    const token = this.#next();
    if (wanted.includes(token.name)) return token;
    throw new VmError(
      `Error parsing: ${this.#source}. syntax error, unexpected ${token.name}, expecting ` +
        `${wanted.join(' or ')} at line 0, columns ${this.#tokenStart + 1}:${this.#at + 1}`,
    );
  }

  #next(): Token {
    while (this.#at < this.#source.length) {
      this.#tokenStart = this.#at;
      const token = this.#match();
      if (token) return token;
    }
    if (this.#state !== 'variable') return { name: '$end', text: '' };
    this.#state = 'text';
    return { name: 'EOA', text: '' };
  }

  /** Undefined: what stands here is no token. */
  #match(): Token | undefined {
    if (this.#state === 'text') {
      const copied = this.#take(/(?:[^$\\]|\\\$|\\[^$])+/y);
      if (copied !== undefined) return { name: 'RSTRING', text: copied };
      if (this.#source[this.#at] === '$') this.#state = 'variable';
      this.#at += 1;
      return undefined;
    }
    if (this.#state === 'value') {
      const value = this.#take(/"[^"]*"/y)?.slice(1, -1) ?? this.#take(/[A-Za-z0-9]+/y);
      if (value === undefined) this.#at += 1;
      else this.#state = 'variable';
      return value === undefined ? undefined : { name: 'STRING', text: value };
    }
    return this.#inVariable();
  }

  #inVariable(): Token | undefined {
    let best: Token | undefined;
    for (const [name, rule] of variableRules) {
      rule.lastIndex = this.#at;
      const text = rule.exec(this.#source)?.[0];
      if (text !== undefined && text.length > (best?.text.length ?? 0)) best = { name, text };
    }
    this.#at += best?.text.length ?? 1;
    if (best?.name === 'EQUAL') this.#state = 'value';
    if (best?.name !== 'EOA') return best;
    // A dollar ends one variable and begins the next.
    if (best.text === '$') return { name: 'EOA', text: '' };
    this.#state = 'text';
    return best;
  }

  #take(rule: RegExp): string | undefined {
    rule.lastIndex = this.#at;
    const text = rule.exec(this.#source)?.[0];
    this.#at += text?.length ?? 0;
    return text;
  }
}
