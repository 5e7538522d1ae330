// The exit codes that people read of: the same everywhere.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import {
  BundleError,
  CommandError,
  FailedError,
  InterruptedError,
  OpenNebulaError,
  PartialError,
  UnsupportedError,
  UsageError,
} from '../../lib/report/errors.ts';

const file = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The numbers that `text` has in its first columns. */
const numbers = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].flatMap(([, found = '']) => found.split(',').map(Number));

const codes = [
  0,
  new FailedError('').exitCode,
  new UsageError('').exitCode,
  new UnsupportedError('').exitCode,
  new CommandError('', { command: '', status: 1 }).exitCode,
  new BundleError('').exitCode,
  new OpenNebulaError('').exitCode,
  new PartialError('').exitCode,
  ...(['SIGHUP', 'SIGINT', 'SIGTERM'] as const).map((one) => new InterruptedError(one).exitCode),
];

test.each([
  ['README.md', /^\| (\d[\d, ]*?) +\|/gm],
  ['docs/errors.md', /^\| (\d+) +\| (?:`\w+Error`| +\|)/gm],
  ['bin/onevmdump.ts', /(?<=^| {2})(\d+(?:, \d+)*) (?=[A-Za-z])/gm],
])('the exit codes in %s are those of the errors', (path, pattern) => {
  const text = file(path);
  const part = path.endsWith('.ts') ? text.slice(text.indexOf('Exit codes:')).split('`')[0] : text;
  expect(numbers(part ?? '', pattern)).toEqual(codes);
});
