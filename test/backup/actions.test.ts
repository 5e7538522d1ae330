// The TM actions as oned runs them: the built files as child processes, against the sandbox, with real disks,
// in a TM driver's folder where they have taken the place of the stock ones (install.sh --tm).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeBackupWorld, type BackupWorld, type StagedVm } from '../support/backup-world.ts';
import { runToEnd, sh, type Ended } from '../support/shell.ts';

const drivers = new URL('../../dist/drivers/tm', import.meta.url).pathname;
const actions = ['prebackup', 'prebackup_live', 'postbackup', 'postbackup_live'];
const other = 1;

let world: BackupWorld;
/** `remotes/tm/ssh`. */
let folder: string;

beforeAll(async () => {
  world = await makeBackupWorld({ ONEVMDUMP_COMPRESS: 'zstd' });
  folder = join(world.folder, 'remotes/tm/ssh');
  await mkdir(folder, { recursive: true });
  for (const action of actions) {
    const ours = `#!/usr/bin/env node\nrequire('${drivers}/${action}');\n`;
    await writeFile(join(folder, action), ours, { mode: 0o755 });
    // Writes down what it gets, and ends as it is told.
    const stock = `#!/bin/bash
printf '%s\\0' "\${0##*/}" "$@" >'${folder}/got.argv'
cat >'${folder}/got.stdin'
echo 'stock out'
echo 'stock err' >&2
trap 'echo "$BASHPID got SIGTERM" >"${folder}/got.signal"; exit 3' TERM
for ((i = 0; i < \${STOCK_TENTHS:-0}; i++)); do sleep 0.1; done
exit "\${STOCK_EXIT:-0}"
`;
    await writeFile(join(folder, `stock.${action}`), stock, { mode: 0o755 });
  }
});
afterAll(() => world.close());
beforeEach(async () => {
  for (const name of ['got.argv', 'got.stdin', 'got.signal']) {
    await rm(join(folder, name), { force: true });
  }
});

/** A VM whose backup goes to this datastore, and what oned gives its actions. */
interface BackedUp {
  readonly vm: StagedVm;
  readonly xml: string;
  /** Stdin of `backup`. */
  readonly data: string;
}

async function backedUp(datastore: number, mode = 'FULL'): Promise<BackedUp> {
  const vm = await world.makeVm({ format: 'raw' });
  const config = `<BACKUPS><BACKUP_CONFIG><LAST_DATASTORE_ID><![CDATA[${datastore}]]></LAST_DATASTORE_ID><MODE>${mode}</MODE></BACKUP_CONFIG><BACKUP_IDS/></BACKUPS>`;
  const withBackups = (text: string): string =>
    text.replace(/<BACKUPS>.*<\/BACKUPS>|<BACKUPS\/>/s, '').replace('</VM>', `${config}</VM>`);
  return { vm, xml: withBackups(world.sandbox.vmXml(vm.id)), data: withBackups(vm.input) };
}

function run(
  action: string,
  { vm, xml }: BackedUp,
  more: {
    env?: NodeJS.ProcessEnv;
    input?: string;
    args?: readonly string[];
    started?: (pid: number) => void;
  } = {},
): Promise<Ended> {
  return runToEnd(join(folder, action), more.args ?? vm.args, {
    env: { ...world.driverEnv, ...more.env },
    input: more.input ?? xml,
    ...(more.started ? { started: more.started } : {}),
  });
}

async function backup(one: BackedUp): Promise<Ended> {
  // A bundle's name has the second in it.
  await sleep(1001);
  return await world.action('backup', one.vm.args, one.data);
}

const done = { code: 0, stdout: '', stderr: '' };

async function expectStock(action: string, { vm, xml }: BackedUp): Promise<void> {
  const argv = (await readFile(join(folder, 'got.argv'), 'utf8')).split('\0').slice(0, -1);
  expect(argv).toEqual([`stock.${action}`, ...vm.args]);
  expect(await readFile(join(folder, 'got.stdin'), 'utf8')).toBe(xml);
}

async function expectNoStock(): Promise<void> {
  expect((await readdir(folder)).filter((name) => name.startsWith('got.'))).toEqual([]);
}

async function expectNothingHeld(): Promise<void> {
  expect(await world.leftovers()).toEqual([]);
  expect(await readdir(join(world.folder, 'state/prepared')).catch(() => [])).toEqual([]);
}

function staging({ vm }: BackedUp): string {
  return join((vm.args[0] ?? '').replace(/^localhost:/, ''), 'backup');
}

describe('a backup for a datastore that is not ours', () => {
  let one: BackedUp;
  beforeAll(async () => {
    one = await backedUp(other);
  });

  test.each(actions)(
    'a backup for a datastore of another driver is made by the stock %s, with the same arguments and stdin',
    async (action) => {
      expect(await run(action, one)).toEqual({
        code: 0,
        stdout: 'stock out\n',
        stderr: 'stock err\n',
      });
      await expectStock(action, one);
      await expectNothingHeld();
    },
  );

  test('a backup for a datastore of another driver fails with the status and the words of the stock action', async () => {
    const ended = await run('prebackup', one, { env: { STOCK_EXIT: '255' } });
    expect(ended).toEqual({ code: 255, stdout: 'stock out\n', stderr: 'stock err\n' });
  });

  test('a backup for a datastore of another driver is cancelled by the stock action, which gets the signal and has time to undo', async () => {
    const ended = await run('prebackup_live', one, {
      env: { STOCK_TENTHS: '100' },
      started: (pid) => void appears('got.stdin').then(() => process.kill(pid, 'SIGTERM')),
    });
    expect(ended.code).toBe(3);
    expect(await readFile(join(folder, 'got.signal'), 'utf8')).toContain('got SIGTERM');
  });

  test.each([
    ['the VM’s XML is none', { input: 'no XML' }],
    ['there are no disks in it', { args: ['localhost:/a/0/7', '', 'one-7', '-', '7', '0'] }],
  ])(
    'a backup for a datastore of another driver goes to the stock postbackup also when %s',
    async (_, more) => {
      expect(await run('postbackup', one, more)).toMatchObject({ code: 0, stdout: 'stock out\n' });
    },
  );

  test('a backup for a datastore of another driver is made although the configuration of onevmdump is broken', async () => {
    const file = join(world.folder, 'broken.conf');
    await writeFile(file, 'NO SUCH LINE\n');
    for (const action of ['prebackup', 'postbackup']) {
      const ended = await run(action, one, { env: { ONEVMDUMP_CONFIG: file } });
      expect(ended).toMatchObject({ code: 0, stdout: 'stock out\n' });
      await expectStock(action, one);
    }
  });
});

describe('a backup when oned cannot be asked whose datastore it is', () => {
  const env = { ONE_XMLRPC: 'http://127.0.0.1:1/RPC2' };

  test('a backup is made by the stock actions, which also serve our datastores, when oned cannot be asked whose datastore it is', async () => {
    const one = await backedUp(103);
    const pre = await run('prebackup', one, { env });
    expect(pre).toMatchObject({ code: 0, stdout: 'stock out\n' });
    expect(pre.stderr).toMatch(
      /^stock err\nWARNING: prebackup: cannot find out which driver .*\n$/,
    );
    expect((await backup(one)).code).toBe(0);
    // What the stock prebackup staged, the stock postbackup removes, also when oned answers again.
    await run('postbackup', one);
    await expectStock('postbackup', one);
  });
});

describe('a backup for a datastore of ours', () => {
  let one: BackedUp;
  beforeEach(async () => {
    one = await backedUp(103);
    // What the stock prebackup would have staged.
    await rm(staging(one), { recursive: true });
  });

  test('a backup for a datastore of onevmdump is made from the disks as they are, with nothing staged', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    expect(await readdir(join(staging(one), '..'))).not.toContain('backup');
    const made = await backup(one);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toMatch(/^onevmdump-\d+-\d+\.tar\.zst 1 raw\n$/);
    expect(await run('postbackup', one)).toEqual(done);
    await expectNoStock();
    await expectNothingHeld();

    const name = made.stdout.split(' ')[0] ?? '';
    const unpacked = join(world.folder, 'unpacked');
    await mkdir(unpacked, { recursive: true });
    const bundle = join(world.basePath, String(one.vm.id), name);
    await sh('tar', '--zstd', '-xf', bundle, '-C', unpacked);
    expect(await sh('cmp', join(unpacked, 'backup.disk.0'), one.vm.disk)).toBe('');
    expect(await readFile(join(unpacked, 'vm.xml'), 'utf8')).toBe(one.xml);
  });

  test('a backup for a datastore of onevmdump is made with the arguments of OpenNebula 6.6, which tells backup nothing of the VM', async () => {
    const args = one.vm.args.filter((_, index) => index !== 3);
    expect(await run('prebackup', one, { args })).toEqual(done);
    await sleep(1001);
    const made = await world.action('backup', args, world.datastore);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(await run('postbackup', one, { args })).toEqual(done);
    await expectNothingHeld();
  });

  test('what prebackup prepared is released by postbackup when backup was never run, and a second postbackup succeeds', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    expect(await run('postbackup', one)).toEqual(done);
    expect(await run('postbackup', one)).toEqual(done);
    await expectNoStock();
    await expectNothingHeld();
  });

  test('a backup is not made of what an earlier backup has left', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    const later = {
      ...one,
      data: one.data.replace('<BACKUP_IDS/>', '<BACKUP_IDS><ID>9</ID></BACKUP_IDS>'),
    };
    const { code, stdout, stderr } = await backup(later);
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toContain('belongs to another backup');
    await run('postbackup', one);
    await expectNothingHeld();
  });

  test('a backup begins with the release of what an earlier one left', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    const again = await run('prebackup', one);
    expect(again).toMatchObject({ code: 0, stdout: '' });
    expect(again.stderr).toContain('which OpenNebula did not end');
    expect(await readdir(join(world.folder, 'state/journal'))).toHaveLength(1);
    expect(await run('postbackup', one)).toEqual(done);
    await expectNothingHeld();
  });

  test('cleanup keeps a backup as long as oned is making it, and undoes it afterwards', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    const during = await world.run(['cleanup']);
    expect(during).toMatchObject({ code: 0 });
    expect(during.stdout).toContain('kept, because OpenNebula needs it for a backup');
    expect(await readdir(join(world.folder, 'state/prepared'))).toHaveLength(1);
    world.sandbox.setState(one.vm.id, 8, 0);
    const after = await world.run(['cleanup', '--vm', String(one.vm.id)]);
    expect(after.stdout).toMatch(/^backup of VM \d+ .*: undone\n$/);
    await expectNothingHeld();
  });

  // None of these can be undone here: there is no such program, volume group, cluster or libvirt.
  test.each([
    { kind: 'remove-snapshot-lv', group: 'vg-none', name: 'onevmdump-1-0', origin: 'lv-one-7-0' },
    { kind: 'deactivate-lv', group: 'vg-none', name: 'lv-one-7-0' },
    {
      ...{ kind: 'remove-rbd-snapshot', image: 'one/none', snapshot: 'onevmdump-1' },
      ...{ disk: 'disk 0', access: { conf: '/dev/null', keyfile: '/dev/null' } },
    },
    { kind: 'abort-backup-job', uri: 'none:///', domain: 'one-7', socket: '/none' },
  ])(
    'a VM is locked after its backup as long as $kind cannot be carried out, and cleanup unlocks it',
    async (undo) => {
      expect(await run('prebackup', one)).toEqual(done);
      const folderOfJournals = join(world.folder, 'state/journal');
      const [name = ''] = await readdir(folderOfJournals);
      const journal = join(folderOfJournals, name);
      const line = JSON.stringify({ seq: 99, undo });
      await writeFile(journal, `${await readFile(journal, 'utf8')}${line}\n`);
      const id = String(one.vm.id);

      for (const time of ['first', 'second']) {
        const { code, stderr } = await run('postbackup', one);
        expect({ time, code }).toEqual({ time, code: 0 });
        expect(stderr).toContain('could not undo everything');
        expect(stderr).toContain(`VM ${id} ${time === 'first' ? 'is' : 'stays'} locked`);
        expect(world.sandbox.vmXml(one.vm.id)).toContain('<LOCKED>1</LOCKED>');
      }
      world.sandbox.setState(one.vm.id, 8, 0);
      const failed = await world.run(['cleanup', '--vm', id]);
      expect(failed.code).toBe(1);
      expect(world.sandbox.vmXml(one.vm.id)).toContain('<LOCKED>1</LOCKED>');

      // Somebody has removed it.
      await writeFile(journal, `${await readFile(journal, 'utf8')}{"seq":99,"done":true}\n`);
      expect(await world.run(['cleanup', '--vm', id])).toMatchObject({ code: 0 });
      expect(world.sandbox.vmXml(one.vm.id)).not.toContain('<LOCKED>');
      await expectNothingHeld();
    },
  );

  test('a VM is not locked after its backup when what is left is not on its storage', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    const folderOfJournals = join(world.folder, 'state/journal');
    const [name = ''] = await readdir(folderOfJournals);
    const journal = join(folderOfJournals, name);
    const undo = { kind: 'remove-folder', path: '/dev/null/onevmdump-1' };
    const line = JSON.stringify({ seq: 99, undo, on: { host: 'nowhere.invalid' } });
    await writeFile(journal, `${await readFile(journal, 'utf8')}${line}\n`);
    const { code, stderr } = await run('postbackup', one);
    expect(code).toBe(0);
    expect(stderr).toContain('could not undo everything');
    expect(world.sandbox.vmXml(one.vm.id)).not.toContain('<LOCKED>');
    await rm(journal);
  });

  test('an export of the VM undoes a backup that oned has forgotten', async () => {
    expect(await run('prebackup', one)).toEqual(done);
    world.sandbox.setState(one.vm.id, 8, 0);
    const { code, stdout, stderr } = await world.run(['export', String(one.vm.id)]);
    expect(code).toBe(0);
    expect(stderr).toContain('which OpenNebula did not end');
    await rm(stdout.trim());
    await expectNothingHeld();
  });

  test('a backup that is to continue another one is refused in one plain line', async () => {
    const increment = await backedUp(103, 'INCREMENT');
    const { code, stdout, stderr } = await run('prebackup', increment);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^[^\n]*set its backup mode to FULL\n$/);
    await expectNothingHeld();
  });

  test('a backup of a VM that KVM does not run is refused in one plain line', async () => {
    const xml = one.xml.replace(/<VM_MAD>.*?<\/VM_MAD>/, '<VM_MAD>lxc</VM_MAD>');
    expect(xml).not.toBe(one.xml);
    const { code, stdout, stderr } = await run('prebackup', { ...one, xml });
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^[^\n]*is not run by KVM, but by LXC[^\n]*\n$/);
    await expectNoStock();
    await expectNothingHeld();
  });

  test.each([
    [
      'of a disk that is not there',
      (args: readonly string[]) => args.with(1, '0:9'),
      /has no disk 9/,
    ],
    [
      'of another VM',
      (args: readonly string[]) => args.with(4, '77'),
      /is not the folder of VM 77/,
    ],
    [
      'with a place that is none',
      (args: readonly string[]) => args.with(0, '$(touch x):/a'),
      /is not of the form/,
    ],
  ])(
    'a backup with %s is refused in one plain line and leaves nothing',
    async (_, change, words) => {
      const { code, stdout, stderr } = await run('prebackup', one, { args: change(one.vm.args) });
      expect(code).not.toBe(0);
      expect(stdout).toBe('');
      expect(stderr).toMatch(words);
      expect(stderr.trimEnd()).not.toContain('\n');
      await expectNoStock();
      await expectNothingHeld();
    },
  );

  test('a backup is made where there is no stock action, also from XML in base64', async () => {
    const bare = join(world.folder, 'remotes/tm/bare');
    await mkdir(bare, { recursive: true });
    const script = join(bare, 'prebackup');
    await writeFile(script, await readFile(join(folder, 'prebackup')), { mode: 0o755 });
    const input = Buffer.from(one.xml).toString('base64');
    const ended = await runToEnd(script, one.vm.args, { env: world.driverEnv, input });
    expect(ended).toEqual(done);
    expect(await run('postbackup', one)).toEqual(done);
    await expectNothingHeld();
  });
});

async function appears(name: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if ((await readdir(folder)).includes(name)) return sleep(300);
    await sleep(20);
  }
  throw new Error(`${name} does not appear`);
}
