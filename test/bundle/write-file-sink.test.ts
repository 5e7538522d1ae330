import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createFileSink } from '../../lib/bundle/file-sink.ts';
import { FailedError, UsageError } from '../../lib/report/errors.ts';
import { noise, testFolder } from './write-support.ts';

const folder = testFolder();
afterAll(folder.remove);
let path: string;
let count = 0;
beforeEach(() => {
  const own = join(folder.path, String(count++));
  mkdirSync(own);
  path = join(own, 'bundle.tar.gz');
});

const names = () => readdirSync(join(path, '..'));

test('a bundle has its name only when it was committed, and its part name never again', async () => {
  const sink = await createFileSink(path);
  await sink.write(Buffer.from('one '));
  await sink.write(Buffer.from('two'));
  expect(names()).toEqual(['bundle.tar.gz.part']);
  await sink.commit();
  expect(names()).toEqual(['bundle.tar.gz']);
  expect(readFileSync(path, 'utf8')).toBe('one two');
});

test('a bundle and its part file are for their owner only', async () => {
  const sink = await createFileSink(path);
  expect(statSync(`${path}.part`).mode & 0o777).toBe(0o600);
  await sink.commit();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('discard leaves nothing, also when called twice', async () => {
  const sink = await createFileSink(path);
  await sink.write(noise(1000));
  await sink.discard();
  await sink.discard();
  expect(names()).toEqual([]);
});

test('discard after commit leaves the bundle', async () => {
  const sink = await createFileSink(path);
  await sink.commit();
  await sink.discard();
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a file that is there already is refused at once and not touched', async () => {
  writeFileSync(path, 'precious');
  await expect(createFileSink(path)).rejects.toThrow(`cannot write ${path}: it exists already`);
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a file that appears meanwhile is not replaced', async () => {
  const sink = await createFileSink(path);
  writeFileSync(path, 'precious');
  await expect(sink.commit()).rejects.toThrow(
    `cannot give the bundle its name ${path}: a file of this name has appeared meanwhile`,
  );
  await sink.discard();
  expect(readFileSync(path, 'utf8')).toBe('precious');
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a part file of another export is not touched', async () => {
  writeFileSync(`${path}.part`, 'theirs');
  const refused = createFileSink(path);
  await expect(refused).rejects.toThrow(FailedError);
  await expect(refused).rejects.toThrow('it exists, another export may be writing it');
  expect(readFileSync(`${path}.part`, 'utf8')).toBe('theirs');
});

test('a missing folder is a usage error that names it', async () => {
  const refused = createFileSink('/nowhere/at/all/bundle.tar.gz');
  await expect(refused).rejects.toThrow(UsageError);
  await expect(refused).rejects.toThrow('there is no folder /nowhere/at/all');
});

test('a folder that cannot be written to is a usage error', async () => {
  const refused = createFileSink('/proc/bundle.tar.gz');
  await expect(refused).rejects.toThrow(/cannot create \/proc\/bundle.tar.gz.part/);
});

test('a link that dangles at the name is not followed', async () => {
  execFileSync('ln', ['-s', '/nowhere', path]);
  await expect(createFileSink(path)).rejects.toThrow('it exists already');
});

describe('on a file system of 1 MiB', () => {
  // Mounting it takes root.
  const asRoot = process.getuid?.() === 0 ? test : test.skip;

  asRoot('the end of the space is told in plain words, and nothing is left', async () => {
    const mount = join(path, '..');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount]);
    try {
      const sink = await createFileSink(path);
      await sink.write(noise(500_000));
      await expect(sink.write(noise(1_000_000))).rejects.toThrow(
        `cannot write ${path}.part: no space left on the device`,
      );
      await sink.discard();
      expect(existsSync(`${path}.part`)).toBe(false);
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});
