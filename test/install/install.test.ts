import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { copyFile, link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { repository, shippedConfig, tree, unpackRelease, type Release } from './release.ts';

let release: Release;
let one: string;
beforeEach(async () => {
  release = await unpackRelease();
  one = join(release.temp, 'my one');
});
afterEach(() => release.remove());

const installedTree = [
  'bin/',
  'bin/onevmdump',
  'etc/',
  'etc/onevmdump.conf',
  'share/',
  'share/onevmdump/',
  'share/onevmdump/installed-files',
  'var/',
  'var/onevmdump/',
  'var/remotes/',
  'var/remotes/datastore/',
  'var/remotes/datastore/onevmdump/',
  'var/remotes/datastore/onevmdump/backup',
  'var/remotes/hooks/',
  'var/remotes/hooks/onevmdump/',
  'var/remotes/hooks/onevmdump/export_on_poweroff',
  'var/remotes/tm/',
  'var/remotes/tm/onevmdump/',
  'var/remotes/tm/onevmdump/prebackup',
];

async function mode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o7777).toString(8);
}

describe('installing', () => {
  test('an installation with -d puts the command, configuration, hooks and drivers below that folder', async () => {
    const result = await release.install(['-d', one]);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(await tree(one)).toEqual(installedTree);
    expect(result.stdout).toContain(`onevmdump 1.2.3 is installed: ${one}/bin/onevmdump`);
  });

  test('an installation puts the hook templates beside its list, and says how hooks are created', async () => {
    await release.write('dist/hooks/export', '#!/usr/bin/env node\n');
    await release.write('hooks/export-poweroff.onehook', 'NAME = "x"\n', 0o644);
    const { stdout } = await release.install(['-d', one]);
    const template = join(one, 'share/onevmdump/onehook/export-poweroff.onehook');
    expect(await readFile(template, 'utf8')).toBe('NAME = "x"\n');
    expect(await mode(template)).toBe('644');
    expect(stdout).toContain(`set HOOK_DESTINATION in ${one}/etc/onevmdump.conf`);
    expect(stdout).toContain(`  onehook create ${template.replaceAll(' ', '\\ ')}\n`);
    expect(await release.install(['-d', one, '--uninstall'])).toMatchObject({ status: 0 });
    await expect(stat(join(one, 'share'))).rejects.toThrow('ENOENT');
  });

  test('the man pages of a release are installed, checked, replaced by those of the next release, and removed', async () => {
    const pages = ['man1/onevmdump.1', 'man1/onevmdump-export.1', 'man5/onevmdump.conf.5'];
    for (const page of pages) await release.write(`dist/man/${page}`, `.TH "${page}"\n`, 0o644);
    await release.install(['-d', one]);
    const man = join(one, 'share/man');
    expect(await tree(man)).toEqual(['man1/', ...pages.slice(0, 2).sort(), 'man5/', pages[2]]);
    expect(await readFile(join(man, 'man1/onevmdump.1'), 'utf8')).toBe('.TH "man1/onevmdump.1"\n');
    expect(await mode(join(man, 'man5/onevmdump.conf.5'))).toBe('644');

    await writeFile(join(man, 'man1/onevmdump.1'), 'changed');
    const checked = await release.install(['-d', one, '--check']);
    expect(checked.stderr).toContain(`changed since it was installed: ${man}/man1/onevmdump.1`);

    await rm(join(release.folder, 'dist/man/man1/onevmdump-export.1'));
    await release.install(['-d', one]);
    expect(await tree(join(man, 'man1'))).toEqual(['onevmdump.1']);

    expect(await release.install(['-d', one, '--uninstall'])).toMatchObject({ status: 0 });
    await expect(stat(join(one, 'share'))).rejects.toThrow('ENOENT');
  });

  test('an installation names the hooks of the front-end and those of the hosts apart, since a state needs only one', async () => {
    await release.write('dist/hooks/export', '#!/usr/bin/env node\n');
    for (const name of ['export-poweroff', 'export-poweroff-on-host', 'export-running']) {
      await release.write(`hooks/${name}.onehook`, `NAME = "${name}"\n`, 0o644);
    }
    const { stdout } = await release.install(['-d', one]);
    const [here = '', onHost = ''] = stdout.split('If only the hosts of the VMs see them');
    const created = (text: string) =>
      [...text.matchAll(/onehook create .*\/(.*)\.onehook/g)].map(([, name]) => name);
    expect(created(here)).toEqual(['export-poweroff', 'export-running']);
    expect(created(onHost)).toEqual(['export-poweroff-on-host']);
  });

  test('an installation keeps the onevmdump that OpenNebula 6.4 has, and puts it back when ours is removed', async () => {
    const command = join(one, 'bin/onevmdump');
    await mkdir(join(one, 'bin'), { recursive: true });
    await writeFile(command, '#!/usr/bin/env ruby\nputs 1\n', { mode: 0o750 });
    const { stdout } = await release.install(['-d', one]);
    expect(stdout).toContain(`Kept the previous onevmdump as ${command}.opennebula`);
    expect(await readFile(command, 'utf8')).toContain('env node');
    expect(await readFile(`${command}.opennebula`, 'utf8')).toContain('env ruby');
    expect((await release.install(['-d', one])).stdout).not.toContain('the previous onevmdump');
    const removed = await release.install(['--uninstall', '-d', one]);
    expect(removed.stdout).toContain(`Restored the previous onevmdump: ${command}`);
    expect(await readFile(command, 'utf8')).toBe('#!/usr/bin/env ruby\nputs 1\n');
    expect(await mode(command)).toBe('750');
    expect(await tree(join(one, 'bin'))).toEqual(['onevmdump']);
  });

  test('an installation leaves the onevmdump of an upgraded OpenNebula when ours is removed', async () => {
    const command = join(one, 'bin/onevmdump');
    await mkdir(join(one, 'bin'), { recursive: true });
    await writeFile(command, '#!/usr/bin/env ruby\nputs 1\n');
    await release.install(['-d', one]);
    await writeFile(command, '#!/usr/bin/env ruby\nputs 2\n');
    await release.install(['--uninstall', '-d', one]);
    expect(await readFile(command, 'utf8')).toContain('puts 2');
    expect(await tree(join(one, 'bin'))).toEqual(['onevmdump']);
  });

  test('an installation ends before anything is changed when a program it needs is missing, and keeps what is installed', async () => {
    await release.install(['-d', one]);
    const before = await tree(one);
    for (const missing of ['find', 'sha256sum', 'sort']) {
      const { status, stderr } = await release.install(['-d', one], {
        tools: {},
        without: missing,
      });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: `ERROR: install.sh: not found on PATH, and needed to install: ${missing}\n`,
      });
    }
    expect(await tree(one)).toEqual(before);
  });

  test('an installation speaks of backup datastores only where OpenNebula makes backups', async () => {
    await mkdir(join(one, 'var/remotes/tm/ssh'), { recursive: true });
    await writeFile(join(one, 'var/remotes/tm/ssh/clone'), '');
    expect((await release.install(['-d', one])).stdout).not.toContain('DS_MAD_CONF');
    await writeFile(join(one, 'var/remotes/tm/ssh/prebackup'), '');
    expect((await release.install(['-d', one])).stdout).toContain('DS_MAD_CONF');
  });

  test('an installation gives programs 0755, the configuration 0644 and the state folder 0700', async () => {
    await release.install(['-d', one]);
    expect(await mode(join(one, 'bin/onevmdump'))).toBe('755');
    expect(await mode(join(one, 'var/remotes/tm/onevmdump/prebackup'))).toBe('755');
    expect(await mode(join(one, 'etc/onevmdump.conf'))).toBe('644');
    expect(await mode(join(one, 'var/onevmdump'))).toBe('700');
  });

  test('an installation takes the folder from ONE_LOCATION', async () => {
    await release.install([], { env: { ONE_LOCATION: one } });
    expect(await tree(one)).toEqual(installedTree);
  });

  test('an installation prefers -d to ONE_LOCATION', async () => {
    await release.install(['-d', one], { env: { ONE_LOCATION: join(release.temp, 'other') } });
    expect(await tree(one)).toEqual(installedTree);
    await expect(stat(join(release.temp, 'other'))).rejects.toThrow('ENOENT');
  });

  test('an installation gives koffi to the hooks and, in a file of its own, to the command', async () => {
    await release.write('dist/hooks/koffi.node', 'native', 0o644);
    await release.install(['-d', one]);
    const copies = ['share/onevmdump/koffi.node', 'var/remotes/hooks/onevmdump/koffi.node'];
    for (const copy of copies) {
      expect(await readFile(join(one, copy), 'utf8')).toBe('native');
      expect(await mode(join(one, copy))).toBe('644');
    }
    expect(await release.install(['-d', one, '--uninstall'])).toMatchObject({ status: 0 });
    for (const copy of copies) await expect(stat(join(one, copy))).rejects.toThrow('ENOENT');
  });

  test("an installation uses the layout of OpenNebula's packages below DESTDIR", async () => {
    const result = await release.install([], { env: { DESTDIR: 'pkg' }, user: null });
    expect(result).toMatchObject({ status: 0, stderr: '' });
    const found = await tree(join(release.temp, 'pkg'));
    expect(found.filter((path) => !path.endsWith('/'))).toEqual([
      'etc/one/onevmdump.conf',
      'usr/bin/onevmdump',
      'usr/share/onevmdump/installed-files',
      'var/lib/one/remotes/datastore/onevmdump/backup',
      'var/lib/one/remotes/hooks/onevmdump/export_on_poweroff',
      'var/lib/one/remotes/tm/onevmdump/prebackup',
    ]);
    expect(found).toContain('var/lib/one/onevmdump/');
    expect(found).toContain('var/tmp/onevmdump/');
  });

  test("an installation gives OpenNebula's user what lies in its folders, and only that", async () => {
    // Only root can give files away; anybody else installs for himself.
    const isRoot = userInfo().uid === 0;
    const user = isRoot ? 'nobody' : userInfo().username;
    const result = await release.install([], { env: { DESTDIR: one }, user });
    expect(result).toMatchObject({ status: 0, stderr: '' });
    const owner = async (path: string) => (await stat(join(one, path))).uid;
    const expected = isRoot ? 65534 : userInfo().uid;
    expect(await owner('var/lib/one/onevmdump')).toBe(expected);
    expect(await owner('var/lib/one/remotes/hooks/onevmdump/export_on_poweroff')).toBe(expected);
    expect(await owner('var/tmp/onevmdump')).toBe(expected);
    expect(await owner('usr/bin/onevmdump')).toBe(userInfo().uid);
    expect(await owner('etc/one/onevmdump.conf')).toBe(userInfo().uid);
    expect(await owner('usr/share/onevmdump/installed-files')).toBe(userInfo().uid);
  });

  test('an installation leaves the modes of folders that were there', async () => {
    await mkdir(join(one, 'etc'), { recursive: true, mode: 0o750 });
    await release.install(['-d', one]);
    expect(await mode(join(one, 'etc'))).toBe('750');
  });

  test('an installation lists what it installed in a form that sha256sum can check', async () => {
    await release.install(['-d', one]);
    const list = join(one, 'share/onevmdump/installed-files');
    const checked = spawnSync('sha256sum', ['--check', list], { encoding: 'utf8' });
    expect(checked).toMatchObject({ status: 0, stderr: '' });
    expect(checked.stdout.trim().split('\n')).toHaveLength(5);
  });

  test('an installation installs the command of this repository so that it runs', async () => {
    const built = join(release.folder, 'dist/bin/onevmdump');
    await copyFile(join(repository, 'dist/bin/onevmdump'), built);
    await release.install(['-d', one]);
    const { version } = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8')) as {
      version: string;
    };
    const ran = spawnSync(join(one, 'bin/onevmdump'), ['--version'], { encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 0, stdout: `${version}\n` });
  });
});

describe('installing again', () => {
  test('a second installation changes nothing when nothing is new', async () => {
    await release.install(['-d', one]);
    const list = await readFile(join(one, 'share/onevmdump/installed-files'), 'utf8');
    expect(await release.install(['-d', one])).toMatchObject({ status: 0, stderr: '' });
    expect(await tree(one)).toEqual(installedTree);
    expect(await readFile(join(one, 'share/onevmdump/installed-files'), 'utf8')).toBe(list);
  });

  test('a second installation replaces the command by renaming, so that a reader of the old one keeps it whole', async () => {
    await release.install(['-d', one]);
    const old = await readFile(join(one, 'bin/onevmdump'), 'utf8');
    await link(join(one, 'bin/onevmdump'), join(release.temp, 'old'));
    await release.write('dist/bin/onevmdump', "#!/usr/bin/env node\nconsole.log('2.0.0');\n");
    await release.install(['-d', one]);
    expect(await readFile(join(one, 'bin/onevmdump'), 'utf8')).toContain('2.0.0');
    expect(await readFile(join(release.temp, 'old'), 'utf8')).toBe(old);
  });

  test('a second installation removes a hook that the new version does not bring any more', async () => {
    await release.write('dist/hooks/old_hook', '#!/usr/bin/env node\n');
    await release.install(['-d', one]);
    await release.install(['-d', one]);
    expect(await tree(one)).toContain('var/remotes/hooks/onevmdump/old_hook');
    spawnSync('rm', [join(release.folder, 'dist/hooks/old_hook')]);
    await release.install(['-d', one]);
    expect(await tree(one)).toEqual(installedTree);
  });
});

describe('the configuration', () => {
  const config = (): string => join(one, 'etc/onevmdump.conf');
  const write = (path: string, text: string) => spawnSync('tee', [path], { input: text });

  test('the installed configuration is kept when it was changed, with the shipped one beside it', async () => {
    await release.install(['-d', one]);
    write(config(), 'COMPRESS = zstd\n');
    const { status, stdout } = await release.install(['-d', one]);
    expect(status).toBe(0);
    expect(stdout).toContain(
      `Kept your ${config()}; the one of this version is beside it: ${config()}.new`,
    );
    expect(await readFile(config(), 'utf8')).toBe('COMPRESS = zstd\n');
    expect(await readFile(`${config()}.new`, 'utf8')).toBe(shippedConfig);
  });

  test('the installed configuration is kept when it was there before the first installation', async () => {
    await mkdir(join(one, 'etc'), { recursive: true });
    write(config(), 'COMPRESS = none\n');
    await release.install(['-d', one]);
    expect(await readFile(config(), 'utf8')).toBe('COMPRESS = none\n');
    expect(await readFile(`${config()}.new`, 'utf8')).toBe(shippedConfig);
  });

  test('the installed configuration is replaced by a newer one when nobody changed it', async () => {
    await release.install(['-d', one]);
    await release.write('etc/onevmdump.conf', '# newer\n');
    await release.install(['-d', one]);
    expect(await readFile(config(), 'utf8')).toBe('# newer\n');
    expect(await tree(one)).toEqual(installedTree);
  });

  test('the installed configuration has no older copy beside it once the shipped one was taken over', async () => {
    await release.install(['-d', one]);
    write(config(), 'COMPRESS = zstd\n');
    await release.install(['-d', one]);
    write(config(), shippedConfig);
    await release.install(['-d', one]);
    expect(await tree(one)).toEqual(installedTree);
  });
});
