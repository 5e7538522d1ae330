import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { quoteCommand } from '../../lib/run/quote.ts';

describe('quoting', () => {
  test('quoting brings any words through a shell unchanged', () => {
    const word = fc
      .string({ unit: 'binary', maxLength: 40 })
      .map((text) => text.replaceAll('\0', ''));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (words) => {
        const line = quoteCommand('printf', ['%s\\0', ...words]);
        const printed = execFileSync('/bin/sh', ['-c', line]).toString();
        // printf prints its format once when there is nothing to print.
        const expected = words.length === 0 ? '\0' : words.map((one) => `${one}\0`).join('');
        return printed === Buffer.from(expected).toString();
      }),
      { numRuns: 100 },
    );
  });

  test.each(["a'b", '$(touch /tmp/x)', '`id`', 'a;b', '*', '~', '', '-n', 'a\nb', '"', '\\'])(
    'quoting runs nothing that is in %j',
    (word) => {
      const line = quoteCommand('printf', ['%s', word]);
      expect(execFileSync('/bin/sh', ['-c', line]).toString()).toBe(word);
    },
  );

  test('quoting leaves plain words readable', () => {
    expect(quoteCommand('qemu-img', ['info', '/var/lib/one/disk.0'])).toBe(
      'qemu-img info /var/lib/one/disk.0',
    );
  });
});
