// The man pages: onevmdump(1), one for each command, and onevmdump.conf(5).
import { commandDescriptions } from '../../bin/commands/descriptions.ts';
import {
  explained,
  isFlag,
  type ArgumentDescription,
  type CommandDescription,
  type OptionDescription,
  type OptionTable,
} from '../../bin/commands/description.ts';
import { globalOptions } from '../../bin/commands/global-options.ts';
import { coreSettings } from '../../lib/config/settings.ts';
import { allSettings } from '../../lib/session/load-config.ts';
import { exitCodes, type ExitCode } from '../../lib/report/exit-codes.ts';
import { bold, italic, manPage, type Made, type ManPage } from './roff.ts';

/** File name, such as `man1/onevmdump.1` -> text. */
export function manPages(made: Made): ReadonlyMap<string, string> {
  return new Map([
    ['man1/onevmdump.1', overview(made)],
    ...commandDescriptions.map(
      (one) => [`man1/onevmdump-${one.name}.1`, commandPage(one, made)] as const,
    ),
    ['man5/onevmdump.conf.5', configurationPage(made)],
  ]);
}

function overview(made: Made): string {
  const page = manPage({
    name: 'onevmdump',
    section: 1,
    made,
    summary: 'dump OpenNebula VMs into bundles, and restore them',
  });
  page.heading('Synopsis');
  page.formatted(`${bold('onevmdump')} ${italic('command')} [${italic('options')}]`);
  page.heading('Description');
  page.paragraph(
    'Writes an OpenNebula KVM virtual machine, its XML and all its disks at one point in time, into one file (a bundle), and restores a bundle as images and a VM template. A bundle is an ordinary .tar.gz file, which `tar -xzf` unpacks.',
  );
  page.heading('Commands');
  for (const { name, summary } of commandDescriptions) {
    page.item(`${bold(`onevmdump-${name}`)}(1)`, `${summary}.`);
  }
  page.heading('General options');
  optionItems(page, globalOptions);
  page.item(bold('--help'), 'Show all options of the command.');
  page.item(bold('--version'), 'Show the version.');
  page.heading('Output');
  page.paragraph(
    'The result alone is printed to standard output; with --json, it is one JSON object. Log lines go to standard error, and after a failure one last line that says what failed and why.',
  );
  page.paragraph(
    'With --json, a failure is one object too: {"error": {"code": ..., "message": ..., "exitCode": ...}}. The code is a word that does not change between versions. Facts, such as ids, stand beside it. When a result is not all that was asked for (exit code 7), the error stands in the object of the result.',
  );
  exitStatus(page);
  page.subheading('Codes of failures');
  for (const { words } of exitCodes as readonly ExitCode[]) {
    for (const [word, what] of Object.entries(words)) page.item(bold(word), `${upper(what)}.`);
  }
  page.heading('Environment');
  page.item(
    bold('ONE_AUTH'),
    'File with the credentials for OpenNebula. Default: ~/.one/one_auth.',
  );
  page.item(bold('ONE_XMLRPC'), 'Address of the XML-RPC API of OpenNebula.');
  page.item(
    bold('ONE_LOCATION'),
    'Folder of a self-contained OpenNebula: the configuration file is then etc/onevmdump.conf in it.',
  );
  page.item(bold('ONEVMDUMP_CONFIG'), 'The configuration file.');
  page.item(
    bold('ONEVMDUMP_DEBUG'),
    'Hooks and driver actions log as with --debug, if it is set to anything but 0.',
  );
  page.item(
    bold('ONEVMDUMP_FFI'),
    'If it is 0, no shared library is called to compress and decompress: Node.js and programs do it, more slowly.',
  );
  page.formatted(
    `Each setting KEY of ${bold('onevmdump.conf')}(5) can be given as ${bold('ONEVMDUMP_')}${italic('KEY')}.`,
  );
  page.heading('Files');
  page.item(bold('/etc/one/onevmdump.conf'), 'The configuration file.');
  page.item(
    bold(coreSettings.stateDir.default),
    'Undo journals and export locks (the setting STATE_DIR).',
  );
  page.heading('Examples');
  for (const { examples } of commandDescriptions.slice(0, 2)) exampleItems(page, examples);
  seeAlso(page, ['onevmdump.conf(5)', ...commandDescriptions.map(pageOf)]);
  return page.text();
}

function commandPage(command: CommandDescription, made: Made): string {
  const { name, arguments: words = [], summary, details, options, examples } = command;
  const page = manPage({ name: `onevmdump-${name}`, section: 1, made, summary: lower(summary) });
  page.heading('Synopsis');
  const word = words.map((argument) => ` ${argumentWord(argument)}`).join('');
  page.formatted(`${bold(`onevmdump ${name}`)} [${italic('options')}]${word}`);
  page.heading('Description');
  for (const text of details) page.paragraph(text);
  for (const { name: title, help } of words) page.item(italic(title), `${help}.`);
  page.heading('Options');
  const groups = new Set(Object.values(options).map(({ group }) => group));
  for (const group of groups) {
    if (group !== undefined) page.subheading(group.replace(/:$/, ''));
    const inGroup = Object.entries(options).filter(([, option]) => option.group === group);
    optionItems(page, Object.fromEntries(inGroup));
  }
  page.subheading('General');
  optionItems(page, globalOptions);
  page.heading('Exit status');
  page.formatted(
    `0 if all was done. ${bold('onevmdump')}(1) lists the others and the codes of failures.`,
  );
  page.heading('Examples');
  exampleItems(page, examples);
  const others = commandDescriptions.filter((one) => one !== command).map(pageOf);
  seeAlso(page, ['onevmdump(1)', ...others, 'onevmdump.conf(5)']);
  return page.text();
}

function configurationPage(made: Made): string {
  const page = manPage({
    name: 'onevmdump.conf',
    section: 5,
    made,
    summary: 'settings of onevmdump',
  });
  page.heading('Description');
  page.paragraph(
    'The file is /etc/one/onevmdump.conf, or etc/onevmdump.conf below $ONE_LOCATION. $ONEVMDUMP_CONFIG and --config name another. Each line is KEY = value or KEY = "value"; a # begins a comment. Variables are not expanded. An unknown key is an error.',
  );
  page.paragraph(
    'A variable ONEVMDUMP_KEY in the environment takes precedence over the file, and options of the command line over both.',
  );
  page.heading('Settings');
  for (const { key, default: text, underOneLocation, description } of allSettings) {
    const below =
      underOneLocation === undefined ? '' : `, or ${underOneLocation} below $ONE_LOCATION`;
    page.item(
      bold(key),
      `${description.join(' ')} Default: ${text === '' ? 'empty' : `${text}${below}`}.`,
    );
  }
  seeAlso(page, ['onevmdump(1)']);
  return page.text();
}

function optionItems(page: ManPage, options: OptionTable): void {
  for (const [name, option] of Object.entries(options)) {
    page.item(optionTerm(name, option), explained(option));
  }
}

function optionTerm(name: string, option: OptionDescription): string {
  const { alias, argument, choices } = option;
  const words = `${alias === undefined ? '' : `${bold(`-${alias}`)}, `}${bold(`--${name}`)}`;
  if (isFlag(option)) return words;
  return `${words} ${choices ? choices.map(bold).join('|') : italic(argument ?? '')}`;
}

function argumentWord({ name, required }: ArgumentDescription): string {
  return required ? italic(name) : `[${italic(name)}]`;
}

function exitStatus(page: ManPage): void {
  page.heading('Exit status');
  for (const { code, meaning } of exitCodes) page.item(bold(String(code)), `${upper(meaning)}.`);
}

function exampleItems(page: ManPage, examples: CommandDescription['examples']): void {
  for (const { command, help } of examples) page.example(command, upper(help));
}

function seeAlso(page: ManPage, pages: readonly string[]): void {
  page.heading('See also');
  const terms = pages.map((one) =>
    one.replace(/^(.*)(\(\d\))$/, (_, name: string, section: string) => `${bold(name)}${section}`),
  );
  page.formatted(terms.join(', '));
}

function pageOf({ name }: CommandDescription): string {
  return `onevmdump-${name}(1)`;
}

function upper(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function lower(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
