// Facts about files, by the real coreutils; the files have names that are hard to pass on.
import { expect, test } from '@jest/globals';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { appendFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { localRunner } from '../../lib/run/local-runner.ts';
import {
  fileHead,
  fileRanges,
  fileStamps,
  freeBytes,
  realPath,
  realPaths,
  regularFileSize,
  writeNewFile,
} from '../../lib/tools/file-facts.ts';
import { inFolder, quiet } from '../support/nbd-servers.ts';
import { hostileNames, withFakes } from './fake-on-path.ts';

const runner = localRunner(quiet);

test.each(hostileNames)('every fact of a file named %j is read, and nothing else is done', (name) =>
  inFolder(async (folder) => {
    const path = join(folder, name);
    writeFileSync(path, 'some content');
    expect(await realPath(runner, path, 'the disk')).toBe(path);
    expect(await realPaths(runner, [path])).toEqual([path]);
    expect(await regularFileSize(runner, path, 'the disk')).toBe(12);
    expect((await fileHead(runner, path, 4, 'the disk')).toString()).toBe('some');
    const ranges = [
      { offset: 5, length: 3 },
      { offset: 0, length: 0 },
      { offset: 0, length: 2 },
    ];
    expect((await fileRanges(runner, path, ranges, 'it')).map(String)).toEqual(['con', '', 'so']);
    expect(Object.keys(await fileStamps(runner, [path], 'it'))).toEqual([path]);
    expect(readdirSync(folder)).toEqual([name]);
  }),
);

test.each(hostileNames)(
  'a new file named %j is written for its owner alone, and never over another',
  (name) =>
    inFolder(async (folder) => {
      const path = join(folder, name);
      await writeNewFile(runner, path, 'text');
      expect(readFileSync(path, 'utf8')).toBe('text');
      expect(statSync(path).mode & 0o777).toBe(0o600);
      await expect(writeNewFile(runner, path, 'other')).rejects.toThrow(/^cannot write .*exists/is);
      expect(readFileSync(path, 'utf8')).toBe('text');
      expect(readdirSync(folder)).toEqual([name]);
    }),
);

test('a new file is not written through a link', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'new');
    symlinkSync(join(folder, 'victim'), path);
    await expect(writeNewFile(runner, path, 'text')).rejects.toThrow(
      `cannot write ${path}: sh: dd: `,
    );
    expect(readdirSync(folder)).toEqual(['new']);
  }));

test('a path is resolved through links and dots, and a missing one names what was looked for', () =>
  inFolder(async (folder) => {
    mkdirSync(join(folder, 'real'));
    writeFileSync(join(folder, 'real/disk'), '');
    symlinkSync('real', join(folder, 'link'));
    const given = `${folder}/link/../link/./disk`;
    const gone = join(folder, 'gone');
    expect(await realPath(runner, given, 'disk 0')).toBe(join(folder, 'real/disk'));
    expect(await realPaths(runner, [gone, given])).toEqual([join(folder, 'real/disk')]);
    await expect(realPath(runner, gone, 'disk 0')).rejects.toThrow(
      `cannot find disk 0: realpath: ${gone}: No such file or directory`,
    );
  }));

test('no program is run to resolve no paths', () =>
  withFakes({ realpath: '' }, async (fakes) => {
    expect(await realPaths(fakes.runner, [])).toEqual([]);
    expect(await fakes.calls()).toEqual([]);
  }));

test('the size of a file is asked for by one call of stat, which follows links', () =>
  withFakes({ stat: 'echo 81a4 1099511627776 | tr -d "\\n"' }, async (fakes) => {
    expect(await regularFileSize(fakes.runner, '/a b', 'it')).toBe(2 ** 40);
    expect(await fakes.calls()).toEqual([['stat', '-L', '--printf=%f %s', '--', '/a b']]);
  }));

test.each(['', 'nonsense', '81a4', '81a4 99999999999999999999', '81a4 -1'])(
  'a size is never taken from %j, which stat does not print',
  (text) =>
    withFakes({ stat: `printf %s '${text}'` }, async (fakes) => {
      await expect(regularFileSize(fakes.runner, '/disk', 'disk 0')).rejects.toThrow(
        `cannot look at disk 0: unexpected output of stat: ${JSON.stringify(text)}`,
      );
    }),
);

test('what is not a regular file has no size', async () => {
  await expect(regularFileSize(runner, '/dev/null', 'disk 0')).rejects.toThrow(
    'cannot read disk 0: it is not a regular file',
  );
  await expect(regularFileSize(runner, '/', 'disk 0')).rejects.toThrow('is not a regular file');
});

test('the room in a folder is what the file system has for users other than root', () =>
  inFolder(async (folder) => {
    const { bavail, bsize } = await statfs(folder);
    const free = await freeBytes(runner, folder);
    // Other programs write to it meanwhile.
    expect(Math.abs(free - bavail * bsize)).toBeLessThan(2 ** 30);
    await expect(freeBytes(runner, join(folder, 'gone'))).rejects.toThrow(
      `cannot ask how much is free in ${folder}/gone: stat: `,
    );
  }));

test('the room in a folder is never taken from what stat does not print', () =>
  withFakes({ stat: 'printf "12 ?"' }, async (fakes) => {
    await expect(freeBytes(fakes.runner, '/var')).rejects.toThrow(
      'cannot ask how much is free in /var: unexpected output of stat: "12 ?"',
    );
  }));

test('the stamp of a file changes when it is written to, and when another takes its place', () =>
  inFolder(async (folder) => {
    const paths = ['a', 'b'].map((name) => join(folder, name));
    const [a = '', b = ''] = paths;
    for (const path of paths) writeFileSync(path, 'same');
    const before = await fileStamps(runner, paths, 'the disks');
    expect(await fileStamps(runner, paths, 'the disks')).toEqual(before);
    await appendFile(a, '!');
    const written = await fileStamps(runner, paths, 'the disks');
    expect(written[a]).not.toBe(before[a]);
    expect(written[b]).toBe(before[b]);
    writeFileSync(`${b}.new`, 'same');
    await rm(b);
    symlinkSync(`${b}.new`, b);
    expect((await fileStamps(runner, paths, 'the disks'))[b]).not.toBe(before[b]);
    await rm(a);
    await expect(fileStamps(runner, paths, 'the disks')).rejects.toThrow(
      /^cannot look at the disks: sh: .*No such file/,
    );
  }));

test('parts of a file that has become shorter are an error, and not read as zeros', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'disk');
    writeFileSync(path, 'short');
    await expect(fileRanges(runner, path, [{ offset: 3, length: 10 }], 'disk 0')).rejects.toThrow(
      'cannot read the tables of disk 0: the file has become shorter',
    );
    await expect(
      fileRanges(runner, join(folder, 'gone'), [{ offset: 0, length: 1 }], 'disk 0'),
    ).rejects.toThrow(/^cannot read the tables of disk 0: .*No such file/);
  }));

test('no more of a file is read than its first bytes', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'disk');
    writeFileSync(path, Buffer.alloc(3000, 'x'));
    expect(await fileHead(runner, path, 512, 'disk 0')).toHaveLength(512);
    expect(await fileHead(runner, path, 4096, 'disk 0')).toHaveLength(3000);
    await expect(fileHead(runner, join(folder, 'gone'), 1, 'disk 0')).rejects.toThrow(
      /^cannot read disk 0: head: .*No such file/,
    );
  }));
