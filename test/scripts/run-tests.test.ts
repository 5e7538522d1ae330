// scripts/run-tests.sh on a repository made for it, with stand-ins for npm, shellcheck and jest.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const scripts = join(dirname(dirname(import.meta.dirname)), 'scripts');
const jest = 'node_modules/jest/bin/jest.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'onevmdump-run-tests-'));
  execFileSync('git', ['init', '--quiet', root]);
  await write('.gitignore', 'node_modules/\nbin/\n');
  await write('scripts/tools.sh', '#!/bin/bash\n');
  await lab('echo "$*" >>bin/labs; [[ $* != "up lvm" ]] || echo started=yes');
  for (const name of ['run-tests.sh', 'count-tests.mjs']) {
    await copyFile(join(scripts, name), join(root, 'scripts', name));
  }
  await write('package-lock.json', '{}');
  await write('node_modules/.package-lock.json', '{}');
  await write(
    'bin/npm',
    '#!/bin/bash\necho "npm $*" >>bin/calls\n[[ $* != *"$FAIL" || -z $FAIL ]]',
  );
  await write('bin/shellcheck', '#!/bin/bash\necho "shellcheck $*" >>bin/calls');
  await jestReports({ numPassedTests: 3 });
});
afterEach(() => rm(root, { recursive: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
  await chmod(join(root, path), 0o755);
}

type Numbers = Readonly<Record<string, number>>;

/** Jest's report has these numbers, and the others 0; those of the labs' tests and of the lvm lab's too. */
function jestReports(quick: Numbers, ofLabs: Numbers = {}, ofLvm: Numbers = {}): Promise<void> {
  const none = {
    ...{ numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 0 },
    ...{ numPendingTests: 0, numTodoTests: 0 },
  };
  const reports = [
    { ...none, ...quick },
    { ...none, ...ofLabs },
    { ...none, ...ofLvm },
  ];
  return write(
    jest,
    `const file = process.argv.find((one) => one.startsWith('--outputFile=')).slice(13);
     const has = (word) => process.argv.some((one) => one.startsWith(word));
     const report = ${JSON.stringify(reports)}[has('--testMatch=') ? 2 : has('--config') ? 1 : 0];
     require('fs').writeFileSync(file, JSON.stringify(report));`,
  );
}

/** What test/lab/lab.sh does. */
function lab(line: string): Promise<void> {
  return write('test/lab/lab.sh', `#!/bin/bash\n${line}\n`);
}

function run(env: Readonly<Record<string, string>> = {}, words: readonly string[] = ['all']) {
  const script = join(root, 'scripts/run-tests.sh');
  const { status, stdout, stderr } = spawnSync('/bin/bash', [script, ...words], {
    encoding: 'utf8',
    env: { PATH: `${root}/bin:${process.env['PATH'] ?? ''}`, FAIL: '', ...env },
  });
  return { status, stderr, lastLine: stdout.trimEnd().split('\n').at(-1) };
}

/** `npm test`. */
const runQuick = (env: Readonly<Record<string, string>> = {}) => run(env, []);

const calls = () => readFile(join(root, 'bin/calls'), 'utf8');

describe('npm test', () => {
  test('npm test installs, builds and tests, and neither lints nor checks types', async () => {
    await jestReports({ numPassedTests: 7 }, { numPassedTests: 3 });
    expect(runQuick()).toMatchObject({ status: 0, stderr: '' });
    expect(await calls()).toBe('npm run --silent build\n');
  });

  test('npm test ends at the build when that fails', () => {
    expect(runQuick({ FAIL: 'build' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('\ntest: build failed') as unknown,
    });
  });

  const asRoot = process.geteuid?.() === 0 ? test : test.skip;
  asRoot('starts the labs, runs one test on each storage, and ends the labs', async () => {
    await jestReports(
      { numPassedTests: 7, numTodoTests: 1 },
      { numPassedTests: 3, numPendingTests: 90 },
    );
    expect(runQuick()).toMatchObject({ status: 0, lastLine: '10 passed, 0 failed, 1 skipped' });
    expect(await readFile(join(root, 'bin/labs'), 'utf8')).toBe(
      'up libvirt\nup lvm\nup ceph\ndown lvm\n',
    );
  });

  asRoot('fails when no test has the title of a round trip', async () => {
    await jestReports({ numPassedTests: 7 }, {});
    expect(runQuick()).toMatchObject({ status: 1, lastLine: '7 passed, 1 failed, 0 skipped' });
  });

  test('npm test runs the quick tests alone when it is told which', async () => {
    expect(run({}, ['test/vm'])).toMatchObject({ lastLine: '3 passed, 0 failed, 0 skipped' });
    await expect(readFile(join(root, 'bin/labs'))).rejects.toThrow('ENOENT');
  });

  asRoot('fails when a round trip on a real storage fails', async () => {
    await jestReports({ numPassedTests: 7 }, { numFailedTests: 1 });
    expect(runQuick()).toMatchObject({ status: 1, lastLine: '7 passed, 1 failed, 0 skipped' });
  });
});

describe('test:all', () => {
  test('npm run test:all builds, lints, checks types and shell, and ends with the count of tests', async () => {
    await jestReports({ numPassedTests: 7, numPendingTests: 2, numTodoTests: 1 });
    expect(run()).toEqual({ status: 0, stderr: '', lastLine: '7 passed, 0 failed, 3 skipped' });
    expect(await calls()).toMatch(
      /^npm .*build\nnpm .*lint\nnpm .*typecheck\nshellcheck .* scripts\/run-tests.sh scripts\/tools.sh test\/lab\/lab.sh\n$/,
    );
  });

  test.each(['build', 'lint', 'typecheck'])(
    'npm run test:all ends at %s when that fails',
    (name) => {
      const { status, stderr, lastLine } = run({ FAIL: name });
      expect(status).toBe(1);
      expect(stderr).toContain(`test:all: ${name} failed`);
      expect(lastLine).toBe(`== ${name}`);
    },
  );

  test('npm run test:all fails when a test failed', async () => {
    await jestReports({ numPassedTests: 7, numFailedTests: 1 });
    expect(run()).toMatchObject({ status: 1, lastLine: '7 passed, 1 failed, 0 skipped' });
  });

  test('npm run test:all counts a test file that could not run as a failure', async () => {
    await jestReports({ numPassedTests: 7, numRuntimeErrorTestSuites: 1 });
    expect(run()).toMatchObject({ status: 1, lastLine: '7 passed, 1 failed, 0 skipped' });
  });

  test('npm run test:all starts the labs for the tests with real components, and ends those it has started', async () => {
    const ofLabs = { numPassedTests: 5, numPendingTests: 1 };
    await jestReports({ numPassedTests: 7 }, ofLabs, { numPassedTests: 2 });
    expect(run()).toMatchObject({ status: 0, lastLine: '14 passed, 0 failed, 1 skipped' });
    expect(await readFile(join(root, 'bin/labs'), 'utf8')).toBe(
      'up libvirt\nup lvm\nup ceph\ndown lvm\n',
    );
  });

  test.each([
    ['with real components', { numFailedTests: 1 }, {}],
    ['of the lvm lab, which run beside the others,', {}, { numFailedTests: 1 }],
  ])('npm run test:all fails when a test %s failed', async (_, ofLabs, ofLvm) => {
    await jestReports({ numPassedTests: 7 }, ofLabs, ofLvm);
    expect(run()).toMatchObject({ status: 1, lastLine: '7 passed, 1 failed, 0 skipped' });
  });

  test('npm run test:all fails when the jest of the lvm lab ends without a report', async () => {
    const usual = await readFile(join(root, jest), 'utf8');
    const gone = "if (process.argv.some((one) => one.startsWith('--testMatch='))) process.exit(1);";
    await write(jest, `${gone}\n${usual}`);
    expect(run().status).toBe(1);
  });

  test('npm run test:all fails when a lab does not start', async () => {
    await lab('[[ $1 != up ]] || exit 1');
    const { status, stderr, lastLine } = run();
    expect({ status, lastLine }).toEqual({ status: 1, lastLine: '3 passed, 0 failed, 0 skipped' });
    expect(stderr).toContain('a lab does not start');
  });

  test('npm run test:all fails when nothing was tested', async () => {
    await jestReports({});
    expect(run()).toMatchObject({ status: 1, lastLine: '0 passed, 0 failed, 0 skipped' });
  });

  test('npm run test:all fails when jest ends without a report', async () => {
    await write(jest, 'process.exit(0);');
    expect(run()).toMatchObject({ status: 1, lastLine: '0 passed, 1 failed, 0 skipped' });
  });

  test('npm run test:all fails when jest does although every test passed, as it does when its process is not well', async () => {
    await write(jest, `${await readFile(join(root, jest), 'utf8')} process.exit(1);`);
    expect(run()).toMatchObject({ status: 1, lastLine: '3 passed, 0 failed, 0 skipped' });
  });

  test('npm run test:all installs the dependencies when they are missing or older than package-lock.json', async () => {
    run();
    expect(await calls()).not.toContain('npm ci');
    await utimes(join(root, 'node_modules/.package-lock.json'), 1, 1);
    run();
    expect(await calls()).toContain('npm ci');
  });
});
