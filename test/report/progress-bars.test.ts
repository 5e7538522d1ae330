import { describe, expect, test } from '@jest/globals';
import { createLog } from '../../lib/report/log.ts';
import { formatBytes, formatSeconds } from '../../lib/report/format.ts';
import { progressLines } from '../../lib/report/progress-bars.ts';

describe('progress lines', () => {
  test('progress lines say rate and time left, every ten seconds at most', () => {
    const lines: string[] = [];
    let now = 0;
    const log = createLog({ script: 'x', debug: false, write: (line) => lines.push(line) });
    const task = progressLines(log, () => now).begin('disk 0', 100 * 1024 * 1024);
    for (let second = 1; second <= 25; second++) {
      now = second * 1000;
      task.add(1024 * 1024);
    }
    expect(lines).toEqual([
      'INFO: x: disk 0: 10% (10.0 MiB of 100.0 MiB, 1.0 MiB/s, 1 min 30 s left)\n',
      'INFO: x: disk 0: 20% (20.0 MiB of 100.0 MiB, 1.0 MiB/s, 1 min 20 s left)\n',
    ]);
  });
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1.5 * 1024 ** 4, '1.5 TiB'],
])('in progress lines %d bytes are written %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [5, '5 s'],
  [75, '1 min 15 s'],
  [7260, '2 h 1 min'],
])('in progress lines %d seconds are written %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test('a log line never breaks a progress line', () => {
  const lines: string[] = [];
  createLog({ script: 'x', debug: false, write: (line) => lines.push(line) }).warn('a\n  b\nc\n');
  expect(lines).toEqual(['WARNING: x: a b c\n']);
});
