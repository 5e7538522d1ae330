// The description of a command is plain data. From it come the parser and its --help (declare.ts), the man pages and the
// option tables of the documents (scripts/manual/), and the types of the parsed options.

export interface OptionDescription {
  /** One letter. */
  readonly alias?: string;
  /** The word for its argument, such as FOLDER. Without one, and without `choices`, the option is a flag. */
  readonly argument?: string;
  readonly choices?: readonly string[];
  /** What it does; a sentence without a full stop. */
  readonly help: string;
  /** What applies without the option, in words. */
  readonly default?: string;
  /** The value of the option if it is not given; `default` need not repeat it. */
  readonly initial?: string;
  readonly repeatable?: true;
  /** The option may only be given together with this one. */
  readonly needs?: string;
  /** The option may not be given together with this one. */
  readonly excludes?: string;
  /** The heading under which --help lists it. */
  readonly group?: string;
}

/** By name, without the two hyphens. */
export type OptionTable = Readonly<Record<string, OptionDescription>>;

export interface ArgumentDescription {
  readonly name: string;
  /** If not, it is shown in brackets. */
  readonly required: boolean;
  readonly help: string;
}

export interface CommandDescription {
  readonly name: string;
  /** The words that follow the name. */
  readonly arguments?: readonly ArgumentDescription[];
  /** As typed, after the name. */
  readonly usage: string;
  /** One sentence without a full stop. */
  readonly summary: string;
  /** What the man page says about it, in paragraphs of plain text. */
  readonly details: readonly string[];
  readonly options: OptionTable;
  readonly examples: readonly { readonly command: string; readonly help: string }[];
}

type Camel<Name> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

type ValueOf<Option> = Option extends { readonly choices: readonly (infer Choice)[] }
  ? Option extends { readonly initial: string }
    ? Choice
    : Choice | undefined
  : Option extends { readonly repeatable: true }
    ? readonly string[] | undefined
    : Option extends { readonly argument: string }
      ? string | undefined
      : boolean;

/** The parsed options of a table: `--no-ip` is `noIp`. */
export type OptionsOf<Table> = {
  readonly [Name in keyof Table as Camel<Name>]: ValueOf<Table[Name]>;
};

/** A flag has no argument. */
export function isFlag({ argument, choices }: OptionDescription): boolean {
  return argument === undefined && choices === undefined;
}

/** `-d, --destination-path FOLDER`, or with --json: `--json`. */
export function spelled(name: string, { alias, argument, choices }: OptionDescription): string {
  const words = alias === undefined ? `--${name}` : `-${alias}, --${name}`;
  const value = argument ?? choices?.join('|');
  return value === undefined ? words : `${words} ${value}`;
}

/** The help and the other facts about an option, as sentences. */
export function explained(option: OptionDescription): string {
  const { help, repeatable, needs, excludes, initial, default: byDefault } = option;
  return [
    `${help}.`,
    ...(repeatable ? ['May be repeated.'] : []),
    ...(needs === undefined ? [] : [`Needs --${needs}.`]),
    ...(excludes === undefined ? [] : [`Not together with --${excludes}.`]),
    ...((byDefault ?? initial) === undefined ? [] : [`Default: ${byDefault ?? initial}.`]),
  ].join(' ');
}
