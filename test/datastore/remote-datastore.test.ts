// A backup datastore whose bundles lie on another machine (ONEVMDUMP_HOST): the built actions as oned calls
// them, against a real sshd.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { processesWith, useSshd } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { qemuCompare } from '../support/qemu-compare.ts';
import {
  driver,
  makeBackupWorld,
  type BackupWorld,
  type StagedVm,
} from '../support/backup-world.ts';
import { runToEnd, sh } from '../support/shell.ts';

let sshd: TestSshd;
let restorePath: () => void;
let world: BackupWorld;
let vm: StagedVm;
let source: string;
beforeAll(async () => {
  sshd = await startSshd();
  restorePath = useSshd(sshd);
  const user = (await sh('id', '-un')).trim();
  world = await makeBackupWorld({
    ONEVMDUMP_COMPRESS: 'zstd',
    ONEVMDUMP_HOST: sshd.host,
    ONEVMDUMP_USER: user,
  });
  vm = await world.makeVm({ format: 'raw' });
  source = await backup(vm);
});
afterAll(async () => {
  await world.close();
  restorePath();
  await sshd.stop();
});

/** @returns the bundle's name */
async function backup(one: StagedVm): Promise<string> {
  const { code, stdout, stderr } = await world.action('backup', one.args, one.input);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(new RegExp(`^onevmdump-${one.id}-\\d+\\.tar\\.zst 1 raw\\n$`));
  return stdout.split(' ')[0] ?? '';
}

const image = (name = source): string =>
  `<IMAGE><ID>29</ID><UNAME>oneadmin</UNAME><SOURCE>${name}</SOURCE><FORMAT>raw</FORMAT></IMAGE>${world.datastore}`;

const list = (where = ''): string =>
  `<DS_DRIVER_ACTION_DATA>${image()}${world.sandbox.vmXml(vm.id)}</DS_DRIVER_ACTION_DATA>`.replace(
    sshd.host,
    where || sshd.host,
  );

async function address(): Promise<string> {
  const { code, stdout } = await world.action('ls', ['-i', '-1'], list());
  expect(code).toBe(0);
  return (JSON.parse(stdout) as Record<string, string>)['0'] ?? '';
}

async function expectNothingLeft(): Promise<void> {
  expect(await world.leftovers()).toEqual([]);
  expect(await processesWith(sshd.host, 'ServerAlive')).toEqual([]);
}

test('a backup into a datastore on another host writes a bundle there that tar reads, and leaves nothing here', async () => {
  const bundle = join(world.basePath, String(vm.id), source);
  expect(await sh('tar', '--zstd', '-tvf', bundle)).toMatch(/ 8388608 .* \.\/backup\.disk\.0$/m);
  expect(await sh('stat', '-c', '%a', bundle, join(bundle, '..'))).toBe('600\n700\n');
  await expectNothingLeft();
});

test('a restore from a datastore on another host registers images that OpenNebula fetches from there', async () => {
  const asked = `${image()}<DESTINATION_DS_ID>1</DESTINATION_DS_ID><TEMPLATE><USERNAME>oneadmin</USERNAME></TEMPLATE>`;
  const { code, stdout, stderr } = await world.request('restore', asked);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  await world.sandbox.settle();
  const restored = world.sandbox.world.images.get(Number(stdout.trim().split(' ')[1]));
  expect(restored).toMatchObject({ state: 1, format: 'raw', sizeMb: 8 });
  await qemuCompare(vm.disk, restored?.source ?? '');
  await expectNothingLeft();
});

test('a disk on another host that is read at its beginning only ends the connection, without an error', async () => {
  const pipe = `${join(driver, 'stream_disk')} ${await address()} | head -c 1000 | wc -c`;
  const { stdout, stderr } = await runToEnd('bash', ['-c', pipe], { env: world.driverEnv });
  expect({ stdout, stderr }).toEqual({ stdout: '1000\n', stderr: '' });
  await expectNothingLeft();
});

test('monitor tells the space of a datastore on another host', async () => {
  const { code, stdout, stderr } = await world.request('monitor', world.datastore);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^USED_MB=\d+\nTOTAL_MB=\d+\nFREE_MB=\d+\n$/);
});

test('rm removes a bundle and its folder on another host, and succeeds once more without them', async () => {
  const other = await world.makeVm({ format: 'qcow2', datastore: 101 });
  const name = await backup(other);
  expect(await world.bundlesThere()).toContain(`${other.id}/${name}`);
  for (let time = 0; time < 2; time++) {
    const removed = await world.request('rm', image(name));
    expect(removed).toEqual({ code: 0, stdout: '', stderr: '' });
  }
  const there = await world.bundlesThere();
  expect(there.filter((one) => one.startsWith(String(other.id)))).toEqual([]);
  expect(there).toContain(`${vm.id}/${source}`);
});

describe('a backup that ends in the middle leaves nothing there and no connection:', () => {
  let other: StagedVm;
  beforeAll(async () => {
    other = await world.makeVm({ format: 'raw' });
  });

  async function expectNothing(): Promise<void> {
    const there = await world.bundlesThere();
    expect(there.filter((name) => name.startsWith(String(other.id)))).toEqual([]);
    await expectNothingLeft();
  }

  test('a backup to another host that ends because a program fails leaves nothing there and no connection', async () => {
    const env = await world.compressorThat('echo no more >&2; exit 1');
    const { code, stdout, stderr } = await world.action('backup', other.args, other.input, { env });
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/^.*no more.*\n$/);
    await expectNothing();
  });

  test('a backup to another host that is cancelled leaves nothing there and no connection', async () => {
    const env = await world.compressorThat('exec sleep 60');
    const running = world.action('backup', other.args, other.input, { env });
    await world.waitForPart();
    const cancel = await world.action('backup_cancel', [other.args[0] ?? '', other.args[2] ?? '']);
    expect(cancel).toEqual({ code: 0, stdout: '', stderr: '' });
    await expectNothing();
    expect(await running).toEqual({ code: 143, stdout: '', stderr: 'interrupted by SIGTERM\n' });
  });
});

describe('a backup into a datastore with a BRIDGE_LIST, as OpenNebula 7.2 knows it,', () => {
  /** What oned says of a VM whose system datastore has this TM driver, and of the host it has chosen. */
  const onBridge = (tm: string, bridge: string): string => {
    const config = `<BACKUP_CONFIG><LAST_BRIDGE>${bridge}</LAST_BRIDGE></BACKUP_CONFIG>`;
    return vm.input
      .replaceAll(/(<TM_MAD>).*?(?=<\/TM_MAD>)/g, `$1${tm}`)
      .replace(/<BACKUPS>.*?<\/BACKUPS>|(?=<\/VM>)/s, `<BACKUPS>${config}</BACKUPS>`);
  };
  const another = () => new Promise((resolve) => setTimeout(resolve, 1001));

  test('a backup into a datastore with a BRIDGE_LIST reads what the TM driver of Ceph has staged on that host', async () => {
    const lost = await world.action('backup', vm.args, onBridge('ceph', 'no-such-host.invalid'));
    expect(lost).toMatchObject({ code: 4, stdout: '' });
    expect(lost.stderr).toMatch(/^cannot connect to no-such-host\.invalid: .*\n$/);
    await another();
    const { code, stderr } = await world.action('backup', vm.args, onBridge('ceph', sshd.host));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await expectNothingLeft();
  });

  test("a backup into a datastore with a BRIDGE_LIST reads what other TM drivers have staged on the VM's own host", async () => {
    await another();
    const { code, stderr } = await world.action('backup', vm.args, onBridge('ssh', 'no-such-host'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('when the host cannot be reached, one line says so:', () => {
  const elsewhere = 'no-such-host.invalid';
  const away = (text: string): string => text.replace(sshd.host, elsewhere);

  test.each([
    ['backup', () => world.action('backup', vm.args, away(vm.input))],
    ['rm', () => world.request('rm', away(image()))],
    ['monitor', () => world.request('monitor', away(world.datastore))],
    ['ls', () => world.action('ls', ['-i', '-1'], list(elsewhere))],
    [
      'stat',
      async () =>
        world.request(
          'stat',
          `<IMAGE><PATH>${await address()}</PATH></IMAGE>${away(world.datastore)}`,
        ),
    ],
    [
      'restore',
      () =>
        world.request(
          'restore',
          `${away(image())}<DESTINATION_DS_ID>1</DESTINATION_DS_ID><TEMPLATE><USERNAME>oneadmin</USERNAME></TEMPLATE>`,
        ),
    ],
  ])("when the datastore's host cannot be reached, one line says so: %s", async (_, call) => {
    const { code, stdout, stderr } = await call();
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/^cannot connect to \S*no-such-host\.invalid: .*\n$/);
    await expectNothingLeft();
  });
});
