// VMs and bundles on other machines, by the built command and a real sshd on loopback.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compareDisks } from '../support/compare-disks.ts';
import { makeVm } from '../support/make-vm.ts';
import { sh, type Ended } from '../support/shell.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { countingWire } from '../support/wire.ts';
import { fileVm } from '../support/file-vm.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let sshd: TestSshd;
let vmId: number;
/** Where bundles go, on the host. */
let folder: string;
/** As the export has printed it: host:path. */
let bundle: string;

beforeAll(async () => {
  world = await makeWorld();
  // A profile that talks, and a PATH without the folders of admin tools.
  sshd = await startSshd({
    shell: `PATH=/usr/bin:/bin; export PATH; echo Welcome; echo 'warning: disk full' >&2
exec sh -c "$SSH_ORIGINAL_COMMAND"`,
  });
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  folder = join(world.bundles, `b 'a' "b" $(touch canary) ; & \\x ü`);
  await mkdir(folder);
  const { code, stdout, stderr } = await run(
    ...['export', String(vmId), '-h', sshd.host, '--destination-host', sshd.host, '-d', folder],
  );
  if (code !== 0) throw new Error(stderr);
  bundle = stdout.trim();
});

afterAll(async () => {
  await sshd.stop();
  await world.close();
});

function pathTo({ bin }: TestSshd): string {
  return `${bin}:${world.env['PATH'] ?? ''}`;
}

function run(...args: readonly string[]): Promise<Ended> {
  return world.run(args, { env: { PATH: pathTo(sshd) } });
}

async function expectNothingLeft(): Promise<void> {
  const found = (await world.leftovers()).filter((path) => !path.startsWith(world.bundles));
  expect(found).toEqual([]);
}

describe('a VM whose disks are on a host, and whose bundle is on another one', () => {
  test('the bundle of a VM whose disks are on one host, written to another one, is there in a folder of any name, which runs nothing', async () => {
    expect(bundle).toBe(`${sshd.host}:${folder}/${(await readdir(folder))[0]!}`);
    expect(await sh('find', world.folder, sshd.folder, '-name', 'canary*')).toBe('');
    await expectNothingLeft();
  });

  test('a VM whose disks are on one host and whose bundle is on another one is restored with identical disks', async () => {
    const { code, stdout, stderr } = await run('restore', bundle, '--instantiate', '-n', 'there');
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    await world.sandbox.settle();
    const disks = await compareDisks(world.sandbox, vmId, Number(/\d+/.exec(stdout)?.[0]));
    expect(disks.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
    await expectNothingLeft();
  });

  test('the bundle of a VM whose disks are on one host, written to another one, is shown and verified as if the bundle were here', async () => {
    const here = bundle.slice(sshd.host.length + 1);
    for (const command of ['show', 'verify']) {
      const [local, remote] = [await run(command, here), await run(command, bundle)];
      expect(remote).toEqual({ code: 0, stdout: local.stdout.replace(here, bundle), stderr: '' });
    }
    await expectNothingLeft();
  });
});

describe('a list of the bundles in a folder on another machine', () => {
  test('a list of the bundles in a folder on another machine says the same as one of a folder here, also of what is no bundle', async () => {
    const odd = join(world.folder, 'odd');
    await mkdir(join(odd, 'folder.tar.gz'), { recursive: true });
    await sh('cp', bundle.slice(sshd.host.length + 1), join(odd, `a 'b' $(c).tar.gz`));
    await sh('cp', bundle.slice(sshd.host.length + 1), join(odd, '.hidden.tar.gz'));
    await sh('tar', '-czf', join(odd, 'no index.tar.gz'), '-C', odd, 'folder.tar.gz');
    await writeFile(join(odd, 'broken.tar.gz'), 'no archive');
    await writeFile(join(odd, 'other.txt'), '');
    await sh('ln', '-s', 'nowhere', join(odd, 'link.tar'));
    const [local, remote] = [await run('list', odd), await run('list', `${sshd.host}:${odd}`)];
    expect(remote.code).toBe(0);
    // They name what they could not open.
    const place = new RegExp(`(${sshd.host}:)?${odd}`, 'g');
    const said = ({ stdout }: Ended) => stdout.replaceAll(place, 'ODD').replaceAll(/ +/g, ' ');
    expect(said(remote)).toBe(said(local));
    expect(remote.stdout).toMatch(/^VM +NAME .*\n.*\.hidden\.tar\.gz\n.*a 'b' \$\(c\)\.tar\.gz\n/);
    expect(remote.stdout).toContain('no index: see onevmdump show');
    await expectNothingLeft();
  });

  test('a list of the bundles in a folder on another machine reads a few blocks of each', async () => {
    const full = join(world.folder, 'full');
    await mkdir(full);
    const vm = await fileVm(world.datastores, 77, [{ id: 0 }]);
    const size = 48 * 1024 * 1024;
    await writeFile(vm.path(0), randomBytes(size));
    const exported = await world.run(['export', '--stdin', '-L', '-d', full], { input: vm.xml });
    expect(exported.code).toBe(0);
    const wire = await countingWire(sshd, { folder: world.folder, path: pathTo(sshd) });
    try {
      const { code, stdout } = await world.run(['list', '--json', `${sshd.host}:${full}`], {
        env: wire.env,
      });
      expect(code).toBe(0);
      const { bundles } = JSON.parse(stdout) as { bundles: { size: number; disks: number }[] };
      expect(bundles).toEqual([expect.objectContaining({ disks: 1 })]);
      expect(bundles[0]!.size).toBeGreaterThan(size);
      expect(wire.received()).toBeLessThan(4 * 1024 * 1024);
    } finally {
      wire.close();
    }
  });

  test.each([
    ['/no/such/folder', 'no such folder'],
    ['/etc/passwd', 'it is not a folder'],
  ])('a list of bundles on another machine is refused with %s', async (path, why) => {
    const place = `${sshd.host}:${path}`;
    const { code, stderr } = await run('list', place);
    expect({ code, stderr }).toEqual({ code: 2, stderr: `cannot list ${place}: ${why}\n` });
    await expectNothingLeft();
  });

  test('a list of bundles on a machine that cannot be reached says so', async () => {
    const { code, stderr } = await run('list', 'no-such-host.invalid:/');
    expect(code).toBe(4);
    expect(stderr).toContain('its name cannot be resolved');
    await expectNothingLeft();
  });
});

describe('a host that does not allow what is needed is told apart', () => {
  test.each([
    ['AllowStreamLocalForwarding no', /cannot be reached through ssh: .*AllowStreamLocalForwarding no/],
    ['DisableForwarding yes', /cannot be reached through ssh: .*DisableForwarding yes/],
    ['MaxSessions 1', /it allows too few sessions \(MaxSessions of its sshd_config must be 2 or more\)/],
  ])("an export from a host whose sshd has %s fails with the setting's name", async (line, message) => {
    const strict = await startSshd({ sshd: line });
    try {
      const { code, stderr } = await world.run(['export', String(vmId), '-h', strict.host], {
        env: { PATH: pathTo(strict) },
      });
      expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringMatching(message) as unknown });
      expect(await readdir(world.bundles)).toEqual([folder.split('/').at(-1)]);
      await expectNothingLeft();
    } finally {
      await strict.stop();
    }
  }); // prettier-ignore
});

test('a host that allows two sessions on a connection is enough for an export', async () => {
  const strict = await startSshd({ sshd: 'MaxSessions 2' });
  try {
    const { code, stderr } = await world.run(['export', String(vmId), '-h', strict.host], {
      env: { PATH: pathTo(strict) },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) as unknown });
    await expectNothingLeft();
  } finally {
    await strict.stop();
  }
});
