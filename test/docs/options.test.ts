// Options: those of the documents exist, those that exist are documented, and what is made from their description is up to date.
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OptionTable } from '../../bin/commands/description.ts';
import { commandDescriptions } from '../../bin/commands/descriptions.ts';
import { globalOptions } from '../../bin/commands/global-options.ts';
import { tablesIn, withTables } from '../../scripts/manual/tables.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'etc/onevmdump.conf',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Every command has these, too. */
const always = ['--help', '--version'];
/** `--name` and `-n` of a table. */
const spellings = (table: OptionTable): string[] =>
  Object.entries(table).flatMap(([name, { alias }]) => [
    `--${name}`,
    ...(alias === undefined ? [] : [`-${alias}`]),
  ]);
const optionsOf = new Map(
  commandDescriptions.map(({ name, options }) => [
    name,
    [...spellings(options), ...spellings(globalOptions), ...always],
  ]),
);
const ours = new Set([...optionsOf.values()].flat());

/** Those of other programs that stand alone in a document, after the program was named. */
const others = new Map([
  ['virsh', ['--connect']],
  ['rbd', ['--from-snap', '--id']],
  ['oneimage restore', ['--disk_id', '--no_nic', '--no_ip']],
  ['virtnbdbackup', ['--raw']],
  ['lvs', ['--reportformat']],
]);

/** `onevmdump export 8 -d /b`, as in code: the command and what follows. */
function commandLines(text: string): { readonly name: string; readonly rest: string }[] {
  const code = [...text.matchAll(/^ {4}.*$/gm), ...text.matchAll(/`[^`\n]+`/g)].map(([one]) => one);
  const names = [...optionsOf.keys()].join('|');
  return code.flatMap((one) =>
    [...one.matchAll(new RegExp(`\\bonevmdump (${names})\\b([^#|\`]*)`, 'g'))].map(
      ([, name = '', rest = '']) => ({ name, rest }),
    ),
  );
}

const optionPattern = /(?<=^|[\s[])--?[A-Za-z][\w-]*/g;

test.each(documents)(
  'the document %s gives no command an option that it does not have',
  (document) => {
    const wrong = commandLines(read(document)).flatMap(({ name, rest }) =>
      [...rest.matchAll(optionPattern)]
        .filter(([option]) => !optionsOf.get(name)?.includes(option))
        .map(([option]) => `onevmdump ${name}: ${option}`),
    );
    expect(wrong).toEqual([]);
  },
);

test.each(documents)('the document %s names no option that no program has', (document) => {
  const usage = execFileSync(join(root, 'install.sh'), ['--help'], { encoding: 'utf8' });
  const known = new Set([
    ...ours,
    ...[...usage.matchAll(optionPattern)].map(([option]) => option),
    ...[...others.values()].flat(),
  ]);
  const named = [...read(document).matchAll(/`(--[a-z][\w-]*)/g)].map(([, option = '']) => option);
  expect(named.filter((option) => !known.has(option))).toEqual([]);
});

test.each(documents)('the tables of %s are those that npm run docs makes', (document) => {
  const text = read(document);
  expect(text).toBe(withTables(text));
});

test('the documents have a table of the options of every command, and both tables of exit codes', () => {
  const found = documents.flatMap((document) => tablesIn(read(document)));
  const wanted = [
    'exit codes',
    'codes of failures',
    'commands',
    'general options',
    ...commandDescriptions.map(({ name }) => `options of ${name}`),
  ];
  expect(found.sort()).toEqual(wanted.sort());
});

test('every option of a command is in its table and in its --help', () => {
  const page = read('docs/options.md');
  for (const { name, options } of commandDescriptions) {
    const help = execFileSync(join(root, 'dist/bin/onevmdump'), [name, '--help'], {
      encoding: 'utf8',
    });
    const section = page.split(`\n## ${name}\n`)[1]?.split('\n## ')[0] ?? '';
    for (const option of spellings(options)) {
      expect(help).toMatch(new RegExp(`^ .*(?<![\\w-])${option}[ ,]`, 'm'));
      expect(section).toMatch(new RegExp(`^\\| \`.*(?<![\\w-])${option}[ ,\`]`, 'm'));
    }
  }
});
