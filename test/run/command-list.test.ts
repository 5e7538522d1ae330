import { expect, test } from '@jest/globals';
import { failedInARow, inARow } from '../../lib/run/command-list.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import { quiet } from '../support/nbd-servers.ts';

const runner = localRunner(quiet);
const say = (text: string) => ({
  program: 'sh',
  args: ['-c', 'printf "%s|" "$1" >&2', 'sh', text],
});

test('commands in a row get their words as they are, one after another', async () => {
  const words = ['a b', "it's", '$(id) `id` "$1"', '', '\\', 'line\nbreak', '12'];
  const output = await runner.run(inARow(words.map(say)));
  expect(output.stderr).toBe(words.map((word) => `${word}|`).join(''));
  expect(failedInARow(output)).toBeUndefined();
});

test('commands in a row end with the first that fails, which is told', async () => {
  const fails = { program: 'sh', args: ['-c', 'echo why >&2; exit 5'] };
  const output = await runner.run(inARow([say('one'), fails, say('three')]));
  expect(failedInARow(output)).toEqual({ at: 1, status: 5 });
  expect(output.stderr).toBe('one|why\n');
});

test('what the commands in a row print and read is not taken for their result', async () => {
  const talks = { program: 'sh', args: ['-c', 'cat; printf "0 7"'] };
  expect(failedInARow(await runner.run(inARow([talks, talks]), { input: '0 7' }))).toBeUndefined();
});

test('a command of more than nine words keeps all of them', async () => {
  const words = Array.from({ length: 14 }, (_, at) => `w${at}`);
  const output = await runner.run(
    inARow([{ program: 'sh', args: ['-c', 'echo "$*" >&2', 'sh', ...words] }]),
  );
  expect(output.stderr).toBe(`${words.join(' ')}\n`);
});
