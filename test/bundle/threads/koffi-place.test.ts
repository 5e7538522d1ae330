// Where programs look for koffi's native module: where install.sh and the build put it.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from '@jest/globals';
import { koffiPlaces } from '../../../lib/bundle/threads/koffi-place.ts';

test.each([
  ['an installed command', 'usr/bin/onevmdump', 'usr/share/onevmdump/koffi.node'],
  ['a hook', 'remotes/hooks/onevmdump/export', 'remotes/hooks/onevmdump/koffi.node'],
  [
    'a part of a driver',
    'remotes/datastore/onevmdump/part-A.cjs',
    'remotes/hooks/onevmdump/koffi.node',
  ],
  ['a command that was not installed', 'dist/bin/onevmdump', 'dist/hooks/koffi.node'],
  ['a driver that was not installed', 'dist/drivers/datastore/backup', 'dist/hooks/koffi.node'],
])('%s finds koffi', async (_, program, koffi) => {
  const folder = await mkdtemp(join(tmpdir(), 'koffi-'));
  const address = pathToFileURL(join(folder, program)).href;
  expect(koffiPlaces(address)).toEqual([]);
  await mkdir(join(folder, dirname(koffi)), { recursive: true });
  await writeFile(join(folder, koffi), '');
  expect(koffiPlaces(address)).toEqual([join(folder, koffi)]);
  await rm(folder, { recursive: true });
});

test('the tests themselves find koffi where npm has put it', () => {
  expect(koffiPlaces()).toHaveLength(1);
});
