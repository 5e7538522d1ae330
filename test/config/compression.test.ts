import { expect, test } from '@jest/globals';
import { parseCompression } from '../../lib/config/compression.ts';
import { UsageError } from '../../lib/report/errors.ts';

test.each([
  ['gzip', { method: 'gzip' }],
  ['gzip:0', { method: 'gzip', level: 0 }],
  ['gzip:9', { method: 'gzip', level: 9 }],
  ['zstd:19', { method: 'zstd', level: 19 }],
  ['none', { method: 'none' }],
])('the compression %s is accepted', (text, expected) => {
  expect(parseCompression(text)).toEqual(expected);
});

test.each([
  '',
  'xz',
  'GZIP',
  'gzip:',
  'gzip:10',
  'gzip:-1',
  'zstd:0',
  'zstd:20',
  'none:1',
  'gzip:1 ',
])('the compression %j is refused', (text) => {
  expect(() => parseCompression(text)).toThrow(UsageError);
});
