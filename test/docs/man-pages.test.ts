// The man pages of the build: groff formats them without a warning, and they name every command, option and setting.
import { expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { commandDescriptions } from '../../bin/commands/descriptions.ts';
import { globalOptions } from '../../bin/commands/global-options.ts';
import { allSettings } from '../../lib/session/load-config.ts';
import { exitCodes, type ExitCode } from '../../lib/report/exit-codes.ts';

const folder = join(import.meta.dirname, '../../dist/man');
const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.\d$/.test(name))
  .sort();

/** The page as plain text, with single spaces. */
function formatted(page: string): string {
  const text = execFileSync('groff', ['-man', '-Tascii', '-P-cbou', join(folder, page)], {
    encoding: 'utf8',
  });
  return text.replaceAll(/\s+/g, ' ');
}

test('there is a page for the command, for each of its commands, and for its configuration file', () => {
  expect(pages).toEqual(
    [
      'man1/onevmdump.1',
      'man5/onevmdump.conf.5',
      ...commandDescriptions.map(({ name }) => `man1/onevmdump-${name}.1`),
    ].sort(),
  );
});

test.each(pages)(
  'the man page %s is formatted by groff with all warnings on and none given',
  (page) => {
    const { status, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8', join(folder, page)], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  },
);

test.each(pages)('the man page %s has the sections that its readers look for', (page) => {
  const text = formatted(page);
  for (const heading of ['NAME', 'DESCRIPTION', 'SEE ALSO']) expect(text).toContain(heading);
  expect(text).not.toContain('undefined');
});

test.each(commandDescriptions.map((one) => [one.name, one] as const))(
  'the page of %s has every option with its help, and every example',
  (name, { options, examples }) => {
    const text = formatted(`man1/onevmdump-${name}.1`);
    for (const [option, { help, alias }] of Object.entries({
      ...options,
      ...globalOptions,
    } as typeof options)) {
      expect(text).toContain(alias === undefined ? ` --${option}` : ` -${alias}, --${option}`);
      expect(text).toContain(help);
    }
    for (const { command } of examples) expect(text).toContain(command);
  },
);

test('onevmdump(1) has every exit code and every code of a failure', () => {
  const text = formatted('man1/onevmdump.1');
  for (const { code, words } of exitCodes as readonly ExitCode[]) {
    expect(text).toMatch(new RegExp(` ${code} [A-Z]`));
    for (const word of Object.keys(words)) expect(text).toMatch(new RegExp(` ${word} [A-Za-z]`));
  }
});

test('onevmdump.conf(5) has every setting with its default', () => {
  const text = formatted('man5/onevmdump.conf.5');
  for (const { key, default: value } of allSettings) {
    expect(text).toMatch(new RegExp(` ${key} [A-Z]`, 'i'));
    // The list of ciphers is broken behind a comma.
    const unbroken = text.replaceAll(', ', ',');
    if (value !== '') expect(unbroken).toContain(`Default: ${value}`);
  }
});
