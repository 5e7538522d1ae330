import { expect, test } from '@jest/globals';
import { BundleError } from '../../lib/report/errors.ts';
import { failureOf } from '../../lib/report/failure.ts';
import { createLog } from '../../lib/report/log.ts';

const hostile = 'a\u001b[2J\u0007b \n\n  c\u202ed\u009be';

function logged(text: string): string {
  const lines: string[] = [];
  createLog({ script: 'x', debug: false, write: (line) => lines.push(line) }).warn(text);
  return lines.join('');
}

test('what a terminal would obey does not reach it through a message that quotes a hostile text', () => {
  expect(logged(hostile)).toBe('WARNING: x: a [2J b c d e\n');
  expect(failureOf(new BundleError(hostile)).message).toBe('a [2J b c d e');
});

test('a message that quotes a hostile text of many characters is cut off', () => {
  const { message } = new BundleError(`it says ${'x'.repeat(1e6)}`);
  expect(message.length).toBe(10_003);
  expect(message).toMatch(/^it says x+\.\.\.$/);
});

test('a message of a million blanks is brought into one line at once', () => {
  const start = process.cpuUsage();
  expect(logged(`a${' '.repeat(1e6)}b\n`).length).toBe(1_000_015);
  expect(process.cpuUsage(start).user / 1e6).toBeLessThan(10);
});
