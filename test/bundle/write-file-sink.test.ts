import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createFileSink } from '../../lib/bundle/location/file-sink.ts';
import { partName } from '../../lib/vm/names.ts';
import { FailedError, UsageError } from '../../lib/report/errors.ts';
import { noise, testFolder } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);
let path: string;
let part: string;
let count = 0;
beforeEach(() => {
  const own = join(folder.path, String(count++));
  mkdirSync(own);
  path = join(own, 'bundle.tar.gz');
  part = partName(path);
});

const names = () => readdirSync(join(path, '..'));

test('a bundle has its name only when it was committed, and its part name never again', async () => {
  const sink = await createFileSink(path, part);
  await sink.write(Buffer.from('one '));
  await sink.write(Buffer.from('two'));
  expect(names()).toEqual([basename(part)]);
  await sink.commit();
  expect(names()).toEqual(['bundle.tar.gz']);
  expect(readFileSync(path, 'utf8')).toBe('one two');
});

test('a bundle and its part file are for their owner only', async () => {
  const sink = await createFileSink(path, part);
  expect(statSync(part).mode & 0o777).toBe(0o600);
  await sink.commit();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a bundle that is discarded leaves nothing, also when it is discarded twice', async () => {
  const sink = await createFileSink(path, part);
  await sink.write(noise(1000));
  await sink.discard();
  await sink.discard();
  expect(names()).toEqual([]);
});

test('a bundle that was committed stays when it is discarded', async () => {
  const sink = await createFileSink(path, part);
  await sink.commit();
  await sink.discard();
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a file that is already in the place of a bundle is refused at once and not touched', async () => {
  writeFileSync(path, 'precious');
  await expect(createFileSink(path, part)).rejects.toThrow(
    `cannot write ${path}: it exists already`,
  );
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a file that appears in the place of a bundle while that is written is not replaced', async () => {
  const sink = await createFileSink(path, part);
  writeFileSync(path, 'precious');
  await expect(sink.commit()).rejects.toThrow(
    `cannot give the bundle its name ${path}: a file of this name has appeared in the meantime`,
  );
  await sink.discard();
  expect(readFileSync(path, 'utf8')).toBe('precious');
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a bundle that another export is writing is refused at once, and what it has written stays', async () => {
  const theirs = partName(path);
  const first = await createFileSink(path, theirs);
  await first.write(Buffer.from('theirs'));
  const refused = createFileSink(path, part);
  await expect(refused).rejects.toThrow(FailedError);
  await expect(refused).rejects.toThrow(`${theirs} exists: another export may be writing it`);
  expect(names()).toEqual([basename(theirs)]);
  await first.commit();
  expect(readFileSync(path, 'utf8')).toBe('theirs');
});

test('of two exports that begin the same bundle at once, one writes it and the other is refused', async () => {
  const both = await Promise.allSettled(
    [part, partName(path)].map((one) => createFileSink(path, one)),
  );
  const begun = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  expect(begun).toHaveLength(1);
  await begun[0]?.commit();
  expect(names()).toEqual(['bundle.tar.gz']);
});

test('a missing folder for bundles is a usage error that names it', async () => {
  const refused = createFileSink(
    '/nowhere/at/all/bundle.tar.gz',
    partName('/nowhere/at/all/bundle.tar.gz'),
  );
  await expect(refused).rejects.toThrow(UsageError);
  await expect(refused).rejects.toThrow('there is no folder /nowhere/at/all');
});

test('a folder for bundles that cannot be written to is a usage error', async () => {
  const refused = createFileSink('/proc/bundle.tar.gz', partName('/proc/bundle.tar.gz'));
  await expect(refused).rejects.toThrow(/cannot create \/proc\/bundle.tar.gz.*.part/);
});

test('a dangling link with the name of a bundle is not followed', async () => {
  execFileSync('ln', ['-s', '/nowhere', path]);
  await expect(createFileSink(path, part)).rejects.toThrow('it exists already');
});

describe('on a file system of 1 MiB', () => {
  // Mounting it takes root.
  const asRoot = process.getuid?.() === 0 ? test : test.skip;

  asRoot(
    'the end of the space for a bundle is reported in plain words, and nothing is left',
    async () => {
      const mount = join(path, '..');
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount]);
      try {
        const sink = await createFileSink(path, part);
        await sink.write(noise(500_000));
        await expect(sink.write(noise(1_000_000))).rejects.toThrow(
          `cannot write ${part}: no space left on the device`,
        );
        await sink.discard();
        expect(existsSync(part)).toBe(false);
      } finally {
        execFileSync('umount', [mount]);
      }
    },
  );
});

test('a bundle is not named after a file that took the place of its part file', async () => {
  const sink = await createFileSink(path, part);
  await sink.write(Buffer.from('own'));
  execFileSync('rm', [part]);
  writeFileSync(part, 'foreign');
  await expect(sink.commit()).rejects.toThrow(`${part} was replaced or removed`);
  expect(names()).toEqual([basename(part)]);
  await sink.discard();
});
