import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import {
  createScratch,
  readAll,
  scratchFolder,
  writeScratch,
} from '../../lib/bundle/write/scratch.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { testFolder } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);

test('scratch files lie in memory when there is room, else in the folder for temporary files', async () => {
  expect(await scratchFolder(1)).toBe('/dev/shm');
  expect(await scratchFolder(Number.MAX_SAFE_INTEGER)).toBe(tmpdir());
});

test('a scratch file has no name, and is for its owner only', async () => {
  const file = await createScratch(folder.path);
  expect(readdirSync(folder.path)).toEqual([]);
  const { nlink, mode } = await file.stat();
  expect([nlink, mode & 0o777]).toEqual([0, 0o600]);
  await file.close();
});

test('what was written to a scratch file is read from it', async () => {
  const file = await createScratch(folder.path);
  await writeScratch(file, Buffer.from('0123456789'), 5);
  const read = Buffer.alloc(4);
  await readAll(file, read, 4, 7);
  expect(read.toString()).toBe('2345');
  await expect(readAll(file, read, 4, 13)).rejects.toThrow('shorter than what was written');
  await file.close();
});

test('a folder where nothing can be created is named', async () => {
  const path = join(folder.path, 'file');
  writeFileSync(path, '');
  await expect(createScratch(path)).rejects.toThrow(`cannot create a scratch file in ${path}`);
  expect(statSync(path).size).toBe(0);
});

test('a scratch file that cannot be written is told in plain words', async () => {
  const file = await createScratch(folder.path);
  await file.close();
  await expect(writeScratch(file, Buffer.from('x'), 0)).rejects.toThrow(FailedError);
});
