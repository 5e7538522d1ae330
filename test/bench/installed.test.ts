// Programs that only the benchmark needs, with an apt-get of the test's own.
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installed } from '../../bench/installed.ts';

const path = process.env['PATH'];
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-installed-test-'));
  process.env['PATH'] = `${folder}:${path ?? ''}`;
  jest.spyOn(process.stderr, 'write').mockReturnValue(true);
});

afterAll(async () => {
  jest.restoreAllMocks();
  process.env['PATH'] = path;
  await rm(folder, { recursive: true, force: true });
});

const aptGet = (script: string): Promise<void> =>
  writeFile(join(folder, 'apt-get'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

describe('a program that only the benchmark needs', () => {
  test('a program that only the benchmark needs is left out with the reason when it cannot be installed', async () => {
    await aptGet('echo "E: Unable to locate package no-package" >&2; exit 100');
    const log = jest.spyOn(console, 'log').mockReturnValue();
    expect(await installed('no-program-of-this-name', 'no-package')).toBe(false);
    expect(log.mock.calls).toEqual([
      [
        'no-program-of-this-name is left out: it cannot be installed (E: Unable to locate package no-package)',
      ],
    ]);
  });

  test('a program that only the benchmark needs is there once its package is installed', async () => {
    const program = 'program-of-the-package';
    await aptGet(`case "$*" in
      *'install -y --no-install-recommends the-package')
        printf '#!/bin/sh' > '${folder}/${program}' && chmod 755 '${folder}/${program}' ;;
    esac`);
    expect(await installed(program, 'the-package')).toBe(true);
  });
});
