import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../../lib/report/errors.ts';
import { stateFolder } from '../../lib/session/state-folder.ts';

let folder = '';
const warnings: string[] = [];
const warn = (text: string): void => void warnings.push(text);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-state-'));
  warnings.length = 0;
  // Not even root makes a folder below a file.
  await writeFile(join(folder, 'var'), '');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a state folder that can be made is used, without a word', async () => {
  const set = join(folder, 'new/state');
  expect(await stateFolder(set, {}, warn)).toBe(set);
  expect(warnings).toEqual([]);
});

test('a STATE_DIR that was set and cannot be written is an error that names it', async () => {
  const set = join(folder, 'var/state');
  const refused = stateFolder(set, { XDG_STATE_HOME: folder }, warn);
  await expect(refused).rejects.toThrow(UsageError);
  await expect(refused).rejects.toThrow(`STATE_DIR: ${set} cannot be written`);
});

test.each(['/proc/onevmdump/state', '/proc/onevmdump'])(
  'a STATE_DIR on a file system that makes no folders is an error, and no endless loop: %s',
  async (set) => {
    await expect(stateFolder(set, {}, warn)).rejects.toThrow(`STATE_DIR: ${set} cannot be written`);
  },
);

test("in place of a default that cannot be written, the user's own folder is used, with a warning that names both", async () => {
  const env = { ONE_LOCATION: folder, XDG_STATE_HOME: join(folder, 'own') };
  const usual = join(folder, 'var/onevmdump');
  expect(await stateFolder(usual, env, warn)).toBe(join(folder, 'own/onevmdump'));
  expect(warnings).toEqual([expect.stringContaining(usual)]);
  expect(warnings[0]).toContain(join(folder, 'own/onevmdump'));
});
