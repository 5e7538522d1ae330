// The exit codes that users read about are those of the one table.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import * as errors from '../../lib/report/errors.ts';
import { exitCodes, type ExitCode } from '../../lib/report/exit-codes.ts';
import { runToEnd } from '../support/shell.ts';

const rows: readonly ExitCode[] = exitCodes;
const file = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const thrown: readonly errors.OnevmdumpError[] = [
  new errors.FailedError(''),
  new errors.UsageError(''),
  new errors.UnsupportedError(''),
  new errors.CommandError('', { command: '', status: 1 }),
  new errors.ConnectionError('', { command: '', status: 255 }),
  new errors.BundleError(''),
  new errors.OpenNebulaError(''),
  new errors.PartialError(''),
  ...(['SIGHUP', 'SIGINT', 'SIGTERM'] as const).map((one) => new errors.InterruptedError(one)),
];

test('each class of errors has the exit code of its row in the table', () => {
  for (const error of thrown) {
    const row = rows.find(({ code }) => code === error.exitCode);
    const above = Object.getPrototypeOf(error.constructor) as { readonly name: string };
    expect([error.name, above.name]).toContain(row?.errorClass);
  }
  const classes = new Set(thrown.map((error) => error.name));
  for (const { errorClass, code } of rows) {
    if (code !== 0) expect(classes).toContain(errorClass);
  }
});

test('the exit code of a signal is 128 and its number, as a shell has it', () => {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
  for (const { signal, code } of rows.filter((row) => row.signal !== undefined)) {
    expect(code).toBe(128 + numbers[signal as keyof typeof numbers]);
  }
});

test('a word of the table stands in one row only, so that it decides the exit code', () => {
  const words = rows.flatMap((row) => Object.keys(row.words));
  expect(words).toEqual([...new Set(words)]);
  expect(new errors.UsageError('', { code: 'disk-not-found' }).exitCode).toBe(2);
  expect(words.filter((word) => !/^[a-z]+(-[a-z]+)*$/.test(word))).toEqual([]);
});

test('the exit codes in docs/errors.md are those of the table', () => {
  const found = [...file('docs/errors.md').matchAll(/^\| (\d+) +\| (?:`\w+Error`| +\|)/gm)];
  const numbers = found.map(([, text]) => Number(text));
  expect(numbers).toEqual(rows.map(({ code }) => code));
});

test('--help names each exit code with its meaning', async () => {
  const { stdout } = await runToEnd(new URL('../../dist/bin/onevmdump', import.meta.url).pathname, [
    '--help',
  ]);
  for (const { code, summary } of rows) {
    expect(stdout).toMatch(new RegExp(`^  ${code} +${summary.replaceAll(/[()]/g, '.')}$`, 'm'));
  }
});

test('a full disk has a word of its own, whoever found it', () => {
  const cause = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  expect(new errors.FailedError('cannot write', { cause }).code).toBe('no-space');
});
