// scripts/tools.sh with a PATH of stand-ins: no package is ever installed here.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const script = join(dirname(dirname(import.meta.dirname)), 'scripts/tools.sh');
const demoPrograms = ['qemu-img', 'qemu-nbd', 'igzip', 'zstd', 'xorriso'];

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'onevmdump-tools-'));
  // An ordinary user becomes root with sudo, and both call what env finds first.
  await standIn('env', `export PATH=${path}; while [[ $1 == *=* ]]; do shift; done; "$@"`);
  await standIn('sudo', '"$@"');
});
afterEach(() => rm(path, { recursive: true }));

async function standIn(name: string, body = ''): Promise<void> {
  await writeFile(join(path, name), `#!/bin/bash\n${body}\n`, { mode: 0o755, flag: 'wx' });
}

/** Notes its calls; what it installs is found afterwards. */
function standInForApt(programs: readonly string[], installs = true): Promise<void> {
  const made = installs ? programs.map((name) => `>${path}/${name}`).join(';') : ':';
  const chmod = installs ? programs.map((name) => `/bin/chmod +x ${path}/${name}`).join(';') : ':';
  return standIn(
    'apt-get',
    `echo "$*" >>${path}/calls; [[ $* != *install* ]] || { ${made}; ${chmod}; }`,
  );
}

function run(group: string) {
  const { status, stdout, stderr } = spawnSync('/bin/bash', [script, group], {
    encoding: 'utf8',
    env: { PATH: path },
  });
  return { status, stdout, stderr };
}

async function aptCalls(): Promise<string[]> {
  const text = await readFile(join(path, 'calls'), 'utf8');
  return text.trim().split('\n');
}

describe('scripts/tools.sh', () => {
  test('scripts/tools.sh calls no package manager when everything is there', async () => {
    await standInForApt([]);
    for (const name of demoPrograms) await standIn(name);
    // On PATH everywhere, from packages that Debian itself is made of.
    for (const name of ['mke2fs', 'debugfs', 'mkswap']) await standIn(name);
    expect(run('demo')).toEqual({ status: 0, stdout: '', stderr: '' });
    await expect(aptCalls()).rejects.toThrow('ENOENT');
  });

  test('scripts/tools.sh installs the packages of the missing programs, each once, with fresh lists', async () => {
    await standInForApt(demoPrograms);
    for (const name of ['mke2fs', 'debugfs', 'mkswap']) await standIn(name);
    const { status, stdout } = run('demo');
    expect(status).toBe(0);
    expect(stdout).toBe(
      'Missing: qemu-img qemu-nbd igzip zstd xorriso. Installing qemu-utils isal zstd xorriso\n',
    );
    expect(await aptCalls()).toEqual([
      expect.stringMatching(/ update$/),
      expect.stringMatching(/ install -y --no-install-recommends qemu-utils isal zstd xorriso$/),
    ]);
  });

  test('scripts/tools.sh says so when the packages did not bring the programs', async () => {
    await standInForApt(demoPrograms, false);
    const { status, stderr } = run('demo');
    expect(status).toBe(1);
    expect(stderr).toContain('installed, but still not found on PATH: qemu-img qemu-nbd');
  });

  test('scripts/tools.sh says what is needed where there is no apt-get', () => {
    const { status, stderr } = run('test');
    expect(status).toBe(1);
    expect(stderr).toMatch(/missing programs: qemu-img .*There is no apt-get here/);
    expect(stderr).toMatch(/qemu-utils isal .*libarchive-tools/);
  });

  test('scripts/tools.sh knows demo and test only', () => {
    expect(run('lab')).toMatchObject({
      status: 1,
      stderr: 'tools.sh: usage: scripts/tools.sh demo|test\n',
    });
  });
});
