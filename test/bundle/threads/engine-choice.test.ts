// Which engine is chosen when a machine lacks the better ones, and what is said about it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { FrameThreadsOptions } from '../../../lib/bundle/threads/frame-threads.ts';
import { FailedError, UsageError } from '../../../lib/report/errors.ts';
import { otherLibrary, startThreads, type Method } from './engine-worlds.ts';

type Libraries = FrameThreadsOptions['libraries'];

async function choices(method: Method, level: number, libraries: Libraries): Promise<string[]> {
  const threads = await startThreads({ method, level, options: { threads: 1, libraries } });
  await threads.close();
  return [...threads.choices];
}

/** Runs `work` with a PATH without any program. */
async function withoutPrograms<T>(work: () => Promise<T>): Promise<T> {
  const path = process.env['PATH'];
  process.env['PATH'] = '/nonexistent';
  try {
    return await work();
  } finally {
    process.env['PATH'] = path;
  }
}

const hasNodeZstd = 'zstdCompressSync' in (await import('node:zlib'));

test('with koffi and the libraries, gzip and zstd frames are made and read by the libraries', async () => {
  expect(await choices('gzip', 1, {})).toEqual([
    'compress gzip:1: libisal -1',
    'decompress gzip: libisal',
  ]);
  expect(await choices('zstd', 3, {})).toEqual([
    'compress zstd:3: libzstd -3',
    'decompress zstd: libzstd',
  ]);
});

test('a level of gzip that libisal does not have is made by zlib', async () => {
  expect(await choices('gzip', 4, {})).toEqual([
    'compress gzip:4: zlib -4',
    'decompress gzip: libisal',
  ]);
});

test('without koffi, gzip frames are made by the program igzip and read by zlib, and the reason is said', async () => {
  expect(await choices('gzip', 1, { koffi: [] })).toEqual([
    'compress gzip:1: the program igzip -1 (not by libisal: koffi cannot be loaded: it is not installed)',
    'decompress gzip: zlib (not by libisal: koffi cannot be loaded: it is not installed)',
  ]);
});

test('without koffi and the program igzip, gzip frames are made by zlib', async () => {
  const [made] = await withoutPrograms(() => choices('gzip', 2, { koffi: [] }));
  expect(made).toBe(
    'compress gzip:2: zlib -2 (not by libisal: koffi cannot be loaded: it is not installed; ' +
      'not by the program igzip: is not installed)',
  );
});

test('a file in the place of koffi that is not a native module is not used', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'koffi-'));
  const koffi = join(folder, 'koffi.node');
  await writeFile(koffi, 'this is not an ELF file');
  const [made] = await choices('gzip', 1, { koffi: [koffi] });
  expect(made).toContain('the program igzip -1 (not by libisal: koffi cannot be loaded:');
  expect(made).toContain(koffi);
  await rm(folder, { recursive: true });
});

test('a library that is not installed is not used', async () => {
  const [made, read] = await choices('gzip', 1, { isal: 'libisal.so.99' });
  expect(made).toContain('the program igzip -1 (not by libisal: libisal.so.99 cannot be loaded:');
  expect(read).toContain('zlib (not by libisal: libisal.so.99 cannot be loaded:');
});

test('a library without the functions that are needed is not used', async () => {
  const [made, read] = await choices('gzip', 1, { isal: otherLibrary });
  expect(made).toContain('igzip -1 (not by libisal: no function');
  expect(read).toContain('zlib (not by libisal: no function');
  const [zstd] = await choices('zstd', 1, { zstd: otherLibrary });
  expect(zstd).toContain('(not by libzstd: no function');
});

test('a machine that has nothing to compress with is told what it lacks', async () => {
  const starting = withoutPrograms(() => choices('gzip', 0, { koffi: [] }));
  await expect(starting).rejects.toThrow(UsageError);
  await expect(starting).rejects.toThrow(
    'cannot compress on this machine: gzip:0: libisal: koffi cannot be loaded: it is not installed; ' +
      'the program igzip: is not installed',
  );
});

const without = hasNodeZstd ? test.skip : test;

without('a machine that has no zstd at all says so before it reads a bundle', async () => {
  const starting = withoutPrograms(async () => {
    const { FrameThreads } = await import('../../../lib/bundle/threads/frame-threads.ts');
    const slots = () => ({ rawSize: 1024, storedSize: 2048 });
    return FrameThreads.start({ decode: ['zstd'], slots, libraries: { koffi: [] } });
  });
  await expect(starting).rejects.toThrow(FailedError);
  await expect(starting).rejects.toThrow(
    /^cannot decompress on this machine: zstd: .*Node.js .* has no zstd.*the program zstd: is not installed$/,
  );
});
