import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { removeFile, removeFolder } from '../../lib/run/undo-kinds.ts';
import type { UndoDeps } from '../../lib/run/undo.ts';

const deps = {
  runnerAt: () => {
    throw new Error('no program is needed here');
  },
} as unknown as UndoDeps;

test.each([
  ['has a name that is longer than names can be', 'x'.repeat(300)],
  ['lies in what has become a file', 'file/onevmdump-x'],
  ['is in a folder that is gone', 'gone/onevmdump-x'],
])('an undo has nothing to remove when its path %s', async (_why, name) => {
  const folder = await mkdtemp(join(tmpdir(), 'onevmdump-test-'));
  try {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, name);
    const file = removeFile.read(removeFile.undo({ path }));
    await expect(file.carryOut(deps, undefined)).resolves.toBeUndefined();
    if (!name.includes('onevmdump-')) return;
    await removeFolder.read(removeFolder.undo({ path })).carryOut(deps, undefined);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
