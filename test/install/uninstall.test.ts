import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tree, unpackRelease, type Release } from './release.ts';

let release: Release;
let one: string;
beforeEach(async () => {
  release = await unpackRelease();
  one = join(release.temp, 'my one');
});
afterEach(() => release.remove());

describe('uninstalling', () => {
  test('uninstalling leaves an OpenNebula as it was before the installation', async () => {
    await mkdir(join(one, 'var/remotes/tm/ssh'), { recursive: true });
    await mkdir(join(one, 'bin'));
    await writeFile(join(one, 'bin/onevm'), '');
    const before = await tree(one);
    await release.install(['-d', one]);
    const result = await release.install(['--uninstall', '-d', one]);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(await tree(one)).toEqual(before);
  });

  test('uninstalling leaves no folder that it made itself, also after a second installation', async () => {
    await release.install(['-d', one]);
    await release.install(['-d', one]);
    await release.install(['--uninstall', '-d', one]);
    await expect(tree(one)).rejects.toThrow('ENOENT');
  });

  test('uninstalling removes what was installed below DESTDIR', async () => {
    const options = { env: { DESTDIR: one }, user: null };
    await release.install([], options);
    expect(await release.install(['--uninstall'], options)).toMatchObject({ status: 0 });
    expect(await tree(one)).toEqual([]);
  });

  test('uninstalling keeps a changed configuration and says so', async () => {
    await release.install(['-d', one]);
    await writeFile(join(one, 'etc/onevmdump.conf'), 'COMPRESS = zstd\n');
    await release.install(['-d', one]);
    const { stdout } = await release.install(['--uninstall', '-d', one]);
    expect(stdout).toContain(`Kept ${one}/etc/onevmdump.conf: it was changed`);
    expect(await tree(one)).toEqual(['etc/', 'etc/onevmdump.conf']);
    expect(await readFile(join(one, 'etc/onevmdump.conf'), 'utf8')).toBe('COMPRESS = zstd\n');
  });

  test('uninstalling removes the empty folders of runs that left nothing', async () => {
    await release.install(['-d', one]);
    await mkdir(join(one, 'var/onevmdump/journal'));
    await mkdir(join(one, 'var/onevmdump/claims'));
    const { stdout } = await release.install(['--uninstall', '-d', one]);
    expect(stdout).not.toContain('journals');
    await expect(tree(one)).rejects.toThrow('ENOENT');
  });

  test('uninstalling keeps journals and says so', async () => {
    await release.install(['-d', one]);
    await writeFile(join(one, 'var/onevmdump/run.journal'), '');
    const { stdout } = await release.install(['--uninstall', '-d', one]);
    expect(stdout).toContain(`Kept ${one}/var/onevmdump: it contains journals`);
    expect(await tree(one)).toEqual(['var/', 'var/onevmdump/', 'var/onevmdump/run.journal']);
  });

  test('uninstalling keeps a program that somebody put in the place of ours', async () => {
    await release.install(['-d', one]);
    await writeFile(join(one, 'bin/onevmdump'), 'another');
    const { stdout } = await release.install(['--uninstall', '-d', one]);
    expect(stdout).toContain(`Kept ${one}/bin/onevmdump: it was changed`);
    expect(await tree(one)).toEqual(['bin/', 'bin/onevmdump']);
  });

  test('uninstalling puts back the onevmdump of OpenNebula 6.4 also after an upgrade that was ended half-way', async () => {
    const command = join(one, 'bin/onevmdump');
    await mkdir(join(one, 'bin'), { recursive: true });
    await writeFile(command, '#!/usr/bin/env ruby\n');
    await release.install(['-d', one]);
    // The command of the next version is there already, and the list is still that of this one.
    await appendFile(command, '// of the next version\n');
    const { status, stdout } = await release.install(['--uninstall', '-d', one]);
    expect(status).toBe(0);
    expect(stdout).toContain(`Restored the previous onevmdump: ${command}`);
    expect(stdout).not.toContain('Kept');
    expect(await readFile(command, 'utf8')).toBe('#!/usr/bin/env ruby\n');
    expect(await tree(one)).toEqual(['bin/', 'bin/onevmdump']);
  });

  test('uninstalling refuses a list that names a file outside our places', async () => {
    await release.install(['-d', one]);
    const precious = join(release.temp, 'precious');
    await writeFile(precious, '');
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    const list = join(one, 'share/onevmdump/installed-files');
    for (const path of [precious, `${one}/var/remotes/tm/onevmdump/../../../../../precious`]) {
      await appendFile(list, `${empty}  ${path}\n`);
      const { status, stderr } = await release.install(['--uninstall', '-d', one]);
      expect(status).toBe(1);
      expect(stderr).toContain('which onevmdump has not installed');
      expect(await readFile(precious, 'utf8')).toBe('');
      await writeFile(list, '');
    }
  });

  test('uninstalling says where it looked when nothing is installed', async () => {
    const { status, stderr } = await release.install(['--uninstall', '-d', one]);
    expect(status).toBe(1);
    expect(stderr).toContain(`no list of installed files, ${one}/share/onevmdump/installed-files`);
  });

  test('uninstalling works when files are gone already', async () => {
    await release.install(['-d', one]);
    await rm(join(one, 'var/remotes'), { recursive: true });
    expect(await release.install(['--uninstall', '-d', one])).toMatchObject({ status: 0 });
    await expect(tree(one)).rejects.toThrow('ENOENT');
  });
});
