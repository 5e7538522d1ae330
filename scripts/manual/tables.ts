// Generates the tables of the documents that are made from the code. They are between <!-- generated: NAME --> and
// <!-- /generated -->; `npm run docs` updates them.
import { commandDescriptions } from '../../bin/commands/descriptions.ts';
import {
  explained,
  spelled,
  type CommandDescription,
  type OptionTable,
} from '../../bin/commands/description.ts';
import { globalOptions } from '../../bin/commands/global-options.ts';
import { exitCodes, type ExitCode } from '../../lib/report/exit-codes.ts';

const rows: readonly ExitCode[] = exitCodes;

/** NAME -> the function that makes the table. */
const tables: ReadonlyMap<string, () => string> = new Map([
  ['exit codes', exitCodeTable],
  ['codes of failures', wordTable],
  ['commands', commandTable],
  ['general options', () => optionTable(globalOptions)],
  ...commandDescriptions.map(
    (one) => [`options of ${one.name}`, () => commandSection(one)] as const,
  ),
]);

const place = /(<!-- generated: (.*?) -->\n)[^]*?(<!-- \/generated -->)/g;

/** Returns the document with its tables updated. @throws Error for a table that does not exist */
export function withTables(document: string): string {
  return document.replaceAll(place, (_, begin: string, name: string, end: string) => {
    const made = tables.get(name);
    if (!made) throw new Error(`there is no table ${name}`);
    return `${begin}\n${made()}\n\n${end}`;
  });
}

/** The names of the tables of a document. */
export function tablesIn(document: string): string[] {
  return [...document.matchAll(place)].map(([, , name = '']) => name);
}

function commandTable(): string {
  return table(
    ['command', 'what it does'],
    commandDescriptions.map(({ name, summary }) => [`[\`${name}\`](#${name})`, `${summary}.`]),
  );
}

function commandSection({ name, usage, details, options }: CommandDescription): string {
  return [
    `    onevmdump ${name} ${usage}`,
    ...details.map((text) => wrapped(forMarkdown(text))),
    ...(Object.keys(options).length === 0 ? [] : [optionTable(options)]),
  ].join('\n\n');
}

function optionTable(options: OptionTable): string {
  return table(
    ['option', 'meaning'],
    Object.entries(options).map(([name, option]) => [
      `\`${spelled(name, option)}\``,
      forMarkdown(explained(option)),
    ]),
  );
}

function exitCodeTable(): string {
  return table(
    ['code', 'class', 'what happened'],
    rows.map(({ code, errorClass, meaning }) => [
      String(code),
      errorClass === undefined ? '' : `\`${errorClass}\``,
      meaning,
    ]),
  );
}

function wordTable(): string {
  return table(
    ['code', 'exit code', 'what happened'],
    rows.flatMap((row) =>
      Object.entries(row.words).map(([word, what]) => [
        `\`${word}\``,
        exitCodesOf(row).join(', '),
        what,
      ]),
    ),
  );
}

/** A run that was interrupted has the exit code of its signal. */
function exitCodesOf({ code, signal }: ExitCode): readonly number[] {
  return signal === undefined
    ? [code]
    : rows.flatMap((row) => (row.signal === undefined ? [] : [row.code]));
}

/** Puts options, and what would otherwise be HTML, in backquotes. */
function forMarkdown(text: string): string {
  return text.replaceAll(/(?<![\w`-])(--[a-z][\w-]*|(?:[\w.-]*<[a-z][^>]*>)+)/g, '`$1`');
}

/** Columns are as wide as their widest cell, as Prettier writes them. */
function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const all = [head, ...body].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(3, ...all.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const [first = [], ...rest] = all;
  return [first, widths.map((width) => '-'.repeat(width)), ...rest].map(line).join('\n');
}

/** Lines of at most 120 characters. */
function wrapped(text: string): string {
  return text.replaceAll(/(.{1,120})(?: |$)/g, '$1\n').trimEnd();
}
