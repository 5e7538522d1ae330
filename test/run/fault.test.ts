// Programs whose work ends in an error that nobody catches, as child processes: what they did is undone.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';

const root = new URL('../..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fault-'));
const program = join(folder, 'program.js');
afterAll(() => rmSync(folder, { recursive: true }));

/** Makes a file inside of a run, then meets with the mischief of its first argument. */
const source = `
import { writeFileSync } from 'node:fs';
import { runEntrypoint } from './lib/entrypoint.ts';
import { loadConfig } from './lib/session/load-config.ts';
import { silent } from './lib/report/progress.ts';
import { withRun } from './lib/session/with-run.ts';

const mischief = {
  'an exception in a timer': () => void setTimeout(() => { throw new Error('of a timer'); }, 10),
  'an exception that is no Error': () => void setTimeout(() => { throw 'a text\\nof two lines'; }, 10),
  'a rejection that nobody handles': () => void Promise.reject(new Error('of a promise')),
  'a promise that nobody settles': () => undefined,
  'two exceptions': () => {
    setTimeout(() => { throw new Error('the first'); }, 10);
    setTimeout(() => { throw new Error('the second'); }, 10);
  },
};
const [, , what, path, afterwards] = process.argv;
void runEntrypoint({
  script: 'program',
  debug: false,
  main: async ({ log, signal }) => {
    const config = await loadConfig({ file: undefined, env: process.env, warn: () => undefined });
    await withRun({ config, action: 'restore', vmId: undefined, log, progress: silent, signal }, async (run) => {
      await run.journal.record({ kind: 'remove-file', path });
      writeFileSync(path, 'x');
      mischief[what]();
      if (afterwards === 'waits for the signal') {
        await new Promise((resolve, reject) => {
          const timer = setInterval(() => undefined, 1000);
          signal.addEventListener('abort', () => { clearInterval(timer); reject(signal.reason); });
        });
      } else if (afterwards === 'ends') {
        await new Promise((resolve) => setTimeout(resolve, 100));
      } else if (afterwards === 'is stuck with a timer') {
        setInterval(() => undefined, 1000);
        await new Promise(() => undefined);
      } else {
        await new Promise(() => undefined);
      }
    });
  },
});
`;

beforeAll(() =>
  build({
    stdin: { contents: source, resolveDir: root, loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
    outfile: program,
    // As in scripts/build.mjs: the modules say where they are.
    define: { 'import.meta.url': 'importMetaUrl' },
    banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  }),
);

function run(mischief: string, afterwards: string) {
  const made = join(folder, 'made');
  const { status, stderr } = spawnSync(process.execPath, [program, mischief, made, afterwards], {
    encoding: 'utf8',
    env: {
      PATH: process.env['PATH'],
      NODE_PATH: join(root, 'node_modules'),
      ONEVMDUMP_STATE_DIR: join(folder, 'state'),
      ONEVMDUMP_CONFIG: '/dev/null',
    },
  });
  const journals = readdirSync(join(folder, 'state/journal'));
  return { status, lines: stderr.trim().split('\n'), left: existsSync(made), journals };
}

describe('a run is undone and ends with exit code 1 and one line', () => {
  test.each([
    ['an exception in a timer', 'waits for the signal', /^internal error: of a timer \(at .*\)$/],
    ['an exception in a timer', 'ends', /^internal error: of a timer/],
    ['an exception in a timer', 'is stuck', /^internal error: of a timer/],
    ['an exception in a timer', 'is stuck with a timer', /^internal error: of a timer/],
    ['an exception that is no Error', 'ends', /^internal error: a text of two lines$/],
    ['a rejection that nobody handles', 'waits for the signal', /^internal error: of a promise/],
    ['a rejection that nobody handles', 'ends', /^internal error: of a promise/],
    ['a promise that nobody settles', 'is stuck', /^internal error: the work has stopped/],
  ])(
    'a run is undone and ends with exit code 1 and one line after %s, when the work %s',
    (mischief, afterwards, last) => {
      const { status, lines, left, journals } = run(mischief, afterwards);
      expect(lines).toEqual([expect.stringMatching(last)]);
      expect({ status, left, journals }).toEqual({ status: 1, left: false, journals: [] });
    },
  );

  test('a run is undone and ends with exit code 1 and one line after two exceptions, of which the first is the reason', () => {
    const { status, lines, left } = run('two exceptions', 'ends');
    expect(lines).toEqual([
      'ERROR: program: another error: the second',
      expect.stringMatching(/^internal error: the first/),
    ]);
    expect({ status, left }).toEqual({ status: 1, left: false });
  });
});
