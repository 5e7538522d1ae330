import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { tmpdir } from 'node:os';
import { createScratch, writeScratch } from '../../lib/bundle/write/scratch.ts';
import { CommandError } from '../../lib/report/errors.ts';
import { startFilter, type Filter } from '../../lib/run/filter.ts';

let input: FileHandle;
let output: FileHandle;
let started: Filter | undefined;

beforeEach(async () => {
  input = await createScratch(tmpdir());
  output = await createScratch(tmpdir());
});

afterEach(async () => {
  await started?.close();
  await input.close();
  await output.close();
});

function start(args: readonly string[], signal = new AbortController().signal): Filter {
  const [program = '', ...rest] = args;
  const files = { input: input.fd, output: output.fd };
  started = startFilter({ program, args: rest }, files, { doing: 'filter', signal });
  return started;
}

const written = (size: number) => readFileSync(`/proc/self/fd/${output.fd}`, 'utf8').slice(0, size);

test('a filter program runs over the whole file each time, whatever was read and written before', async () => {
  const filter = start(['tr', 'a-z', 'A-Z']);
  await writeScratch(input, Buffer.from('first, long'), 0);
  expect(written(await filter.run())).toBe('FIRST, LONG');
  await input.truncate(0);
  await writeScratch(input, Buffer.from('second'), 0);
  expect(written(await filter.run())).toBe('SECOND');
});

test('the arguments of a filter program reach it as they are', async () => {
  const args = ['a b', "'", '"', '$(exit 3)', '`x`', '\\', '*', '', 'ü\nv'];
  const size = await start(['printf', '%s|', ...args]).run();
  expect(Buffer.byteLength(args.join('|') + '|')).toBe(size);
  expect(written(size)).toBe(args.join('|') + '|');
});

test('a filter program gets only PATH and the language in its environment', async () => {
  process.env['GZIP'] = '-9';
  const names = written(await start(['env']).run()).match(/^\w+(?==)/gm);
  delete process.env['GZIP'];
  expect(names?.filter((name) => !['PWD', 'OLDPWD', '_', 'SHLVL'].includes(name)).sort()).toEqual([
    'LANG',
    'LC_ALL',
    'PATH',
  ]);
});

test('a filter program has the two files as stdin and stdout, and no other scratch files', async () => {
  const listed = written(await start(['ls', '-l', '/proc/self/fd']).run());
  expect(listed.match(/\S+ -> \S*onevmdump-\S* \(deleted\)/g)).toEqual([
    expect.stringMatching(/^0 /),
    expect.stringMatching(/^1 /),
  ]);
});

test('a filter program can run again after a failure, and its old messages are forgotten', async () => {
  const filter = start(['sh', '-c', 'read -r line; echo "no $line" >&2; test "$line" = good']);
  await writeScratch(input, Buffer.from('luck\n'), 0);
  const failure = filter.run();
  await expect(failure).rejects.toThrow(CommandError);
  await expect(failure).rejects.toThrow('cannot filter: sh: no luck');
  await writeScratch(input, Buffer.from('good\n'), 0);
  expect(await filter.run()).toBe(0);
});

test("a filter's shell that is killed between two runs is noticed", async () => {
  const filter = start(['sh', '-c', 'echo $PPID']);
  const shell = Number(written(await filter.run()));
  process.kill(shell, 'SIGKILL');
  await expect(filter.run()).rejects.toThrow('cannot filter: sh: its shell has ended');
  await expect(filter.run()).rejects.toThrow('its shell has ended');
});

test('closing a filter kills the program and what it has started', async () => {
  const filter = start(['sh', '-c', 'echo $$; sleep 1000; :']);
  const running = filter.run().catch(() => 'killed');
  let pid = '';
  while (!pid.endsWith('\n')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    pid = written(20);
  }
  await filter.close();
  expect(await running).toBe('killed');
  expect(execFileSync('ps', ['-A', '-o', 'pgid=,stat=,args='], { encoding: 'utf8' })).not.toMatch(
    / [RSD]\S* +sleep 1000$/m,
  );
  await filter.close();
});

test("aborting a filter kills the program, and the abort's reason is the error", async () => {
  const controller = new AbortController();
  const running = start(['sleep', '1000'], controller.signal).run();
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await expect(running).rejects.toThrow('enough');
});
