// install.sh --tm: our backup actions in the place of OpenNebula's own, and back.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import {
  chmod,
  cp,
  lstat,
  mkdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { tree, unpackRelease, type Release, type Result } from './release.ts';

const actions = ['prebackup', 'prebackup_live', 'postbackup', 'postbackup_live'];

/** As OpenNebula's: it looks at its own name, and loads what lies beside the TM folders. */
const stock = (tm: string, action: string) =>
  `#!/bin/sh\n. "$(dirname "$0")/../lib/tm_action"\necho "$lib \${0##*/} of ${tm}/${action}: $* < $(cat)"\n`;

/** Does what the real one does with a backup that goes into another datastore. */
const handsOver = (action: string) => `#!/usr/bin/env node
const { dirname, join } = require('node:path');
const { spawnSync } = require('node:child_process');
const stock = join(dirname(process.argv[1]), 'stock.${action}');
process.exitCode = spawnSync(stock, process.argv.slice(2), { stdio: 'inherit' }).status;
`;

let release: Release;
let one: string;
let tmFolder: string;
beforeEach(async () => {
  release = await unpackRelease();
  for (const action of actions) {
    await release.write(`dist/drivers/tm/${action}`, handsOver(action));
  }
  one = join(release.temp, 'my one');
  tmFolder = join(one, 'var/remotes/tm');
  for (const tm of ['qcow2', 'fs_lvm_ssh']) await openNebula(tm);
  await mkdir(join(tmFolder, 'lib'));
  await writeFile(join(tmFolder, 'lib/tm_action'), 'lib=ok\n');
});
afterEach(() => release.remove());

/** The TM driver as a package of OpenNebula brings it. */
async function openNebula(tm: string, version = ''): Promise<void> {
  await mkdir(join(tmFolder, tm), { recursive: true });
  for (const action of actions) {
    const file = join(tmFolder, tm, action);
    await rm(file, { force: true });
    await writeFile(file, stock(`${tm}${version}`, action));
    await chmod(file, 0o750);
    await utimes(file, 1_700_000_000, 1_700_000_000);
  }
}

const install = (...args: string[]): Promise<Result> => release.install(['-d', one, ...args]);

function run(tm: string, action: string): string {
  const program = join(tmFolder, tm, action);
  const { stdout, stderr } = spawnSync(program, ['kvm1:/vms/8', '0:1'], {
    input: '<VM/>',
    encoding: 'utf8',
  });
  return stdout + stderr;
}

/** Content, inode, mode, owner and time of every action: nobody can tell that they were away. */
async function facts() {
  const found = [];
  for (const path of await tree(tmFolder)) {
    const { mode, uid, gid, mtimeMs, ino } = await lstat(join(tmFolder, path));
    if (path.endsWith('/')) found.push({ path, mode, uid, gid });
    else {
      const content = await readFile(join(tmFolder, path), 'utf8');
      found.push({ path, mode, uid, gid, mtimeMs, ino, content });
    }
  }
  return found;
}

describe('install.sh --tm', () => {
  test("install.sh --tm puts our action in the place of OpenNebula's, which it keeps and can hand over to", async () => {
    const { status, stderr, stdout } = await install('--tm', 'qcow2');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Backups of VMs on qcow2 go through onevmdump');
    for (const action of actions) {
      expect(await readFile(join(tmFolder, 'qcow2', action), 'utf8')).toBe(
        `#!/usr/bin/env node\nrequire('../onevmdump/${action}');\n`,
      );
      expect(run('qcow2', action)).toBe(
        `ok stock.${action} of qcow2/${action}: kvm1:/vms/8 0:1 < <VM/>\n`,
      );
    }
    expect(await readFile(join(tmFolder, 'fs_lvm_ssh/prebackup'), 'utf8')).toBe(
      stock('fs_lvm_ssh', 'prebackup'),
    );
  });

  test('install.sh --tm takes an action that is a link out of the TM folders, and puts the link back', async () => {
    const elsewhere = join(release.temp, 'sources/qcow2');
    await mkdir(elsewhere, { recursive: true });
    await cp(join(tmFolder, 'lib'), join(release.temp, 'sources/lib'), { recursive: true });
    await writeFile(join(elsewhere, 'postbackup'), '#!/bin/sh\necho from the sources\n');
    await chmod(join(elsewhere, 'postbackup'), 0o755);
    await rm(join(tmFolder, 'qcow2/postbackup'));
    await symlink(join(elsewhere, 'postbackup'), join(tmFolder, 'qcow2/postbackup'));
    await install('--tm', 'qcow2');
    expect(run('qcow2', 'postbackup')).toBe('from the sources\n');
    await install('--tm', 'none');
    expect(await readlink(join(tmFolder, 'qcow2/postbackup'))).toBe(join(elsewhere, 'postbackup'));
  });

  test('install.sh --tm refuses an action that is a link to one that would be ours', async () => {
    await rm(join(tmFolder, 'qcow2/postbackup'));
    await symlink('postbackup_live', join(tmFolder, 'qcow2/postbackup'));
    const { status, stderr } = await install('--tm', 'qcow2');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('would be changed with it: make it a file'),
    });
  });

  test('install.sh --tm changes nothing when it is done again, and is remembered by an upgrade', async () => {
    await install('--tm', 'fs_lvm_ssh,qcow2,qcow2');
    const content = async () =>
      (await facts()).map((fact) => ('content' in fact ? fact.content : fact));
    const before = await content();
    const list = await readFile(join(one, 'share/onevmdump/installed-files'), 'utf8');
    for (const again of [['--tm', 'qcow2,fs_lvm_ssh'], []]) {
      expect(await install(...again)).toMatchObject({ status: 0, stderr: '' });
      expect(await content()).toEqual(before);
      expect(await readFile(join(one, 'share/onevmdump/installed-files'), 'utf8')).toBe(list);
    }
    const checked = spawnSync('sha256sum', ['--check', '--quiet', '-'], { input: list });
    expect(checked.status).toBe(0);
  });

  test("install.sh --tm takes OpenNebula's new action after its upgrade, and --check tells before", async () => {
    await openNebulaConf();
    await install('--tm', 'qcow2');
    expect(await install('--check')).toMatchObject({ status: 0, stderr: '' });
    await openNebula('qcow2', '-7.4');
    const { status, stderr } = await install('--check');
    expect(status).toBe(1);
    expect(stderr).toContain('qcow2/prebackup_live is not ours any more (an upgrade of OpenNebula');
    await install();
    expect(run('qcow2', 'prebackup')).toContain('of qcow2-7.4/prebackup: ');
    expect(await install('--check')).toMatchObject({ status: 0, stderr: '' });
  });

  test("install.sh --tm --check tells when OpenNebula's own action is gone, and nothing is installed then", async () => {
    await install('--tm', 'qcow2');
    await rm(join(tmFolder, 'qcow2/stock.prebackup'));
    expect((await install('--check')).stderr).toContain(
      "qcow2/stock.prebackup, OpenNebula's own action, is missing",
    );
    const { status, stderr } = await install();
    expect(status).toBe(1);
    expect(stderr).toContain('install that package of OpenNebula again');
  });

  test.each([
    {
      args: ['--tm', 'dev'],
      status: 2,
      says: "does not read disks of a TM driver 'dev', only of ssh",
    },
    { args: ['--tm', '../ssh'], status: 2, says: "a TM driver '../ssh'" },
    { args: ['--tm', ','], status: 2, says: "a TM driver ''" },
    { args: ['--tm', ''], status: 2, says: '--tm needs a value' },
    { args: ['--check', '--tm', 'qcow2'], status: 2, says: '--tm can only be used to install' },
    { args: ['--tm', 'qcow2,ceph'], status: 1, says: 'there is no TM driver ceph here' },
    {
      args: ['--tm', 'ssh'],
      status: 1,
      says: 'ssh/prebackup is missing: OpenNebula has backups from 6.6',
    },
    { args: ['--tm', 'shared'], status: 1, says: 'is a link to qcow2; name that TM driver' },
    { args: ['--tm', 'fs_lvm_ssh'], status: 1, says: 'would be changed with it' },
  ])(
    'install.sh --tm refuses $args and changes nothing',
    async ({ args, status: expected, says }) => {
      await mkdir(join(tmFolder, 'ssh'));
      await symlink('qcow2', join(tmFolder, 'shared'));
      await mkdir(join(tmFolder, 'mine'));
      await symlink('../fs_lvm_ssh/prebackup', join(tmFolder, 'mine/prebackup'));
      const before = await tree(one);
      const { status, stderr } = await install(...args);
      expect({ status, stderr }).toEqual({
        status: expected,
        stderr: expect.stringContaining(says),
      });
      expect(await tree(one)).toEqual(before);
    },
  );

  test('install.sh --tm refuses to make a package of it', async () => {
    const { status, stderr } = await release.install(['--tm', 'qcow2'], {
      env: { DESTDIR: join(release.temp, 'pkg') },
      user: null,
    });
    expect(status).toBe(1);
    expect(stderr).toContain('run install.sh --tm on the machine where both are installed');
  });

  test('install.sh --tm works below DESTDIR when OpenNebula is there, as in an image', async () => {
    const root = join(release.temp, 'image');
    await mkdir(join(root, 'var/lib/one'), { recursive: true });
    await cp(join(one, 'var/remotes'), join(root, 'var/lib/one/remotes'), { recursive: true });
    const options = { env: { DESTDIR: root }, user: null };
    expect(await release.install(['--tm', 'qcow2'], options)).toMatchObject({
      status: 0,
      stderr: '',
    });
    tmFolder = join(root, 'var/lib/one/remotes/tm');
    expect(run('qcow2', 'prebackup')).toContain('ok stock.prebackup of qcow2/prebackup: ');
  });

  test('install.sh --tm puts all back when a driver is left out, with none, and when onevmdump is uninstalled', async () => {
    const before = await facts();
    await install('--tm', 'qcow2,fs_lvm_ssh');
    expect(await install('--tm', 'fs_lvm_ssh')).toMatchObject({ status: 0, stderr: '' });
    const qcow2 = ({ path }: { path: string }) => path.startsWith('qcow2');
    expect((await facts()).filter(qcow2)).toEqual(before.filter(qcow2));
    const ours = ({ path }: { path: string }) => !path.startsWith('onevmdump/');
    expect(await install('--tm', 'none')).toMatchObject({ status: 0, stderr: '' });
    expect((await facts()).filter(ours)).toEqual(before);
    expect((await install('--check')).stderr).not.toContain('tm/qcow2');
    await install('--tm', 'qcow2');
    expect(await install('--uninstall')).toMatchObject({ status: 0, stderr: '' });
    expect(await facts()).toEqual(before);
  });

  test('install.sh --tm leaves a newer action of OpenNebula when it is uninstalled', async () => {
    await install('--tm', 'qcow2');
    await openNebula('qcow2', '-7.4');
    const newer = (await facts()).filter(({ path }) => /^qcow2\/\w+$/.test(path));
    const { stdout } = await install('--uninstall');
    expect(stdout).toContain('qcow2/prebackup, which is newer');
    expect((await facts()).filter(({ path }) => path.startsWith('qcow2'))).toEqual([
      expect.objectContaining({ path: 'qcow2/' }),
      ...newer,
    ]);
  });

  test('install.sh --tm goes on where a run was killed between two actions', async () => {
    const before = await facts();
    await install();
    // As after the first half of one action: both names, and no list that knows of it.
    const list = join(one, 'share/onevmdump/installed-files');
    const known = await readFile(list, 'utf8');
    await install('--tm', 'qcow2');
    await writeFile(list, known);
    spawnSync('ln', [
      '-f',
      join(tmFolder, 'qcow2/stock.prebackup'),
      join(tmFolder, 'qcow2/prebackup'),
    ]);
    expect(await install()).toMatchObject({ status: 0, stderr: '' });
    expect(run('qcow2', 'prebackup')).toContain('ok stock.prebackup of qcow2/prebackup: ');
    await install('--uninstall');
    expect(await facts()).toEqual(before);
  });
});

/** What --check wants to see for the datastore driver. */
async function openNebulaConf(): Promise<void> {
  await mkdir(join(one, 'etc'));
  await writeFile(
    join(one, 'etc/oned.conf'),
    'DATASTORE_MAD = [\n ARGUMENTS = "-d fs,onevmdump -s ssh"\n]\nDS_MAD_CONF = [\n NAME = "onevmdump"\n]\n',
  );
}
