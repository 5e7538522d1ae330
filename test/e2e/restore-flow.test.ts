// How a restore goes about its work in OpenNebula: what it asks before any data moves, whose what it makes is, and that
// two of them do not get into each other's way.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { sh, type Ended } from '../support/shell.ts';
import type { Owned } from '../sandbox/users.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let bundle: string;
let oldVm: number;
/** Calls before the test. */
let before = 0;
let atBeginning: string[];

beforeAll(async () => {
  world = await makeWorld();
  const file = join(world.folder, 'image.raw');
  await sh('truncate', '-s', '2M', file);
  const disk = await world.sandbox.makeImage({ name: 'disk', file, datastore: 1, format: 'raw' });
  const disc = await world.sandbox.makeImage({ name: 'disc', file, datastore: 1, format: 'raw' });
  world.sandbox.world.images.get(disc)!.type = 'CDROM';
  oldVm = await world.sandbox.makeVm({
    template: `CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=${disk}]\nDISK=[IMAGE_ID=${disc}]\nNIC=[NETWORK="net1"]`,
    name: 'old',
    state: 'poweroff',
  });
  bundle = join(world.folder, 'bundle.tar.gz');
  const { code, stderr } = await world.run(['export', String(oldVm), '-d', bundle]);
  if (code !== 0) throw new Error(stderr);
  await world.sandbox.addUser('bob');
});
afterAll(() => world.close());

beforeEach(() => {
  before = world.sandbox.calls.length;
  atBeginning = everything();
});
afterEach(async () => {
  await world.sandbox.settle();
  expect(await world.leftovers()).toEqual([]);
});

function everything(): string[] {
  const { images, templates, vms } = world.sandbox.world;
  const live = [...vms.values()].filter(({ state }) => state !== 6);
  const name = (kind: string) => (one: Owned) => `${kind} ${one.id} ${one.name}`;
  return [
    ...[...images.values()].map(name('image')),
    ...[...templates.values()].map(name('template')),
    ...live.map(name('vm')),
  ];
}

const methods = (): string[] => world.sandbox.calls.slice(before).map(({ method }) => method);
const lastLine = ({ stderr }: Ended): string => stderr.trim().split('\n').at(-1) ?? '';

interface Report {
  readonly name: string;
  readonly templateId: number;
  readonly vmId: number | null;
  readonly images: readonly { readonly imageId: number }[];
  readonly owner: unknown;
}

async function restored(...options: string[]): Promise<Report> {
  const { code, stdout, stderr } = await world.run(['restore', bundle, '--json', ...options]);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  await world.sandbox.settle();
  return JSON.parse(stdout) as Report;
}

/** Refused with this message, before any data moved, and nothing is left. */
async function refused(options: readonly string[], code: number, message: RegExp): Promise<void> {
  const ended = await world.run(['restore', bundle, ...options]);
  expect({ code: ended.code, line: lastLine(ended) }).toEqual({
    code,
    line: expect.stringMatching(message) as unknown,
  });
  expect(methods()).not.toContain('one.image.allocate');
  await world.sandbox.settle();
  expect(everything()).toEqual(atBeginning);
}

describe('before any data moves, a restore', () => {
  test('before any data moves, a restore refuses a name that OpenNebula does not allow for the template or an image', async () => {
    await refused(['-n', 'a/b'], 2, /"\/", which OpenNebula allows in no name/);
    await refused(['-n', 'n'.repeat(122)], 2, /has 129 bytes, and OpenNebula allows 128/);
  });

  test('before any data moves, a restore has oned try the template, which refuses what this user may not set', async () => {
    const refusal = 'VM Template includes a restricted attribute NIC/MAC.';
    world.sandbox.failNext('one.template.allocate', 512, refusal);
    await refused(['-n', 'tried'], 6, /includes a restricted attribute NIC\/MAC/);
  });

  test('before any data moves, a restore asks for the names that are taken once, however many disks there are', async () => {
    await restored('-n', 'asked once');
    const pools = methods().filter((method) => /(image|template)pool\.info$/.test(method));
    expect(pools).toEqual(['one.templatepool.info', 'one.imagepool.info']);
  });

  test.each([
    [['--map-network', 'net1=net1'], /--map-network needs --restore-nics/],
    [['--restore-nics', '--map-network', 'net1'], /--map-network takes OLD=NEW, not "net1"/],
    [
      ['--restore-nics', '--map-network', 'web=net1'],
      /has no network "web" \(it has: 0 \(net1\)\)/,
    ],
    [['--restore-nics', '--map-network', 'net1=nowhere'], /there is no network "nowhere"/],
    [['--map-datastore', 'web=1'], /has no image datastore "web" \(it has: 1 \(default\)\)/],
    [['--map-datastore', 'default=nowhere'], /there is no datastore "nowhere"/],
    [['--map-datastore', '1=1', '--datastore', '1'], /exclude each other/],
    [['--owner', 'nobody'], /OpenNebula has no user "nobody"/],
    [['--owner', 'bob:nobody'], /OpenNebula has no group "nobody"/],
    [['--owner', ':bob'], /--owner takes USER or USER:GROUP/],
  ])('before any data moves, a restore refuses %j', (options, message) =>
    refused(options, 2, message),
  );
});

describe('in another OpenNebula, where ids mean something else,', () => {
  /** The bundle as if its VM had been in a network, and its disks in a datastore, of another name. */
  async function foreign(from: string, to: string): Promise<string> {
    const folder = join(world.folder, `foreign-${Math.random()}`);
    await sh('mkdir', folder);
    await sh(
      'tar',
      '-xzf',
      bundle,
      '-C',
      folder,
      '--exclude',
      './*.json',
      '--exclude',
      './regions.*',
    );
    await sh('sed', '-i', `s#${from}#${to}#`, join(folder, 'vm.xml'));
    const made = `${folder}.tar.gz`;
    await sh('tar', '-czSf', made, '-C', folder, '.');
    return made;
  }

  async function run(
    file: string,
    ...options: string[]
  ): Promise<{ code: number | null; line: string }> {
    const ended = await world.run(['restore', file, ...options]);
    await world.sandbox.settle();
    return { code: ended.code, line: lastLine(ended) };
  }

  test('in another OpenNebula, a network of another name is not used, unless it is mapped', async () => {
    const file = await foreign('<NETWORK><!.CDATA.net1', '<NETWORK><![CDATA[web');
    expect(await run(file, '--restore-nics')).toEqual({
      code: 2,
      line: 'the VM was in network 0 (web), but network 0 is net1 here: restore it without NICs, or by onevmdump restore with --map-network 0=<id or name>',
    });
    expect(everything()).toEqual(atBeginning);
    const mapped = ['--restore-nics', '--no-ip', '--map-network', 'web=net1'];
    expect((await run(file, ...mapped, '-n', 'mapped')).code).toBe(0);
    const made = [...world.sandbox.world.templates.values()].find(({ name }) => name === 'mapped');
    expect(made?.template.vectors('NIC')[0]?.get('NETWORK_ID')).toBe('0');
  });

  test('in another OpenNebula, a VM keeps its addresses in the network that its own one is mapped to, where they are free', async () => {
    const file = await foreign('<NETWORK><!.CDATA.net1', '<NETWORK><![CDATA[web');
    const ranges = [{ id: 0, type: 'IP4', ip: '10.9.0.10', size: 100 }] as const;
    world.sandbox.addNetwork({ name: 'elsewhere', ranges });
    const kept = ['--restore-nics', '--instantiate'];
    expect(await run(file, ...kept, '--map-network', 'web=net1', '-n', 'taken')).toEqual({
      code: 6,
      line: `the address 10.9.0.10 of network net1 (0) is still used by VM ${oldVm}, the VM in the bundle: terminate the VM that has it, or restore with --no-ip for new addresses`,
    });
    expect(everything()).toEqual(atBeginning);
    const free = await run(file, ...kept, '--map-network', 'web=elsewhere', '-n', 'moved');
    expect(free.code).toBe(0);
    const made = [...world.sandbox.world.vms.values()].find(({ name }) => name === 'moved');
    expect(made?.template.vectors('NIC')[0]?.get('IP')).toBe('10.9.0.10');
  });

  test('in another OpenNebula, a VM keeps an address of a shared range, which the old VM has, too', async () => {
    const file = await foreign('<NETWORK><!.CDATA.net1', '<NETWORK><![CDATA[web');
    const attributes = { SHARED: 'YES' };
    const range = { id: 0, type: 'IP4', ip: '10.9.0.10', size: 100, attributes } as const;
    world.sandbox.addNetwork({ name: 'anycast', ranges: [range] });
    const shared = ['--restore-nics', '--instantiate', '--map-network', 'web=anycast'];
    for (const name of ['first', 'second']) {
      expect((await run(file, ...shared, '-n', name)).code).toBe(0);
      const made = [...world.sandbox.world.vms.values()].find((vm) => vm.name === name);
      expect(made?.template.vectors('NIC')[0]?.get('IP')).toBe('10.9.0.10');
    }
  });

  test('in another OpenNebula, a datastore of another name is not used, unless it is mapped', async () => {
    const file = await foreign('<DATASTORE><!.CDATA.default', '<DATASTORE><![CDATA[fast');
    const { code, line } = await run(file);
    expect({ code, line }).toEqual({
      code: 2,
      line: 'disk 0 came from datastore 1 (fast), but datastore 1 is default here: choose one with --map-datastore 1=<id or name>, or one for all disks with --datastore',
    });
    expect(everything()).toEqual(atBeginning);
    expect((await run(file, '--map-datastore', 'fast=default', '-n', 'into default')).code).toBe(0);
  });

  test('a restore into a datastore of block devices is refused, because its driver would copy nothing and note the path of a file that is removed afterwards', async () => {
    const { template } = world.sandbox.world.datastores.get(101)!;
    template.replace('DS_MAD', 'dev');
    const answer = await run(bundle, '--datastore', '101');
    template.replace('DS_MAD', 'fs');
    expect(answer).toEqual({
      code: 2,
      line: 'datastore 101 (images_qcow2) copies nothing: its images are devices or folders that exist already (DS_MAD dev); choose another one for disk 0 with --map-datastore 101=<id or name>, or one for all disks with --datastore',
    });
    expect(everything()).toEqual(atBeginning);
  });

  test('in another OpenNebula, the CD-ROM of the bundle is registered when its IMAGE_ID is another kind of image', async () => {
    const disc = [...world.sandbox.world.images.values()].find(({ name }) => name === 'disc')!;
    const again = await restored('-n', 'same disc');
    expect(again.images).toHaveLength(1);
    disc.type = 'KERNEL';
    const own = await restored('-n', 'own disc');
    disc.type = 'CDROM';
    expect(own.images).toHaveLength(2);
  });
});

describe('what is restored', () => {
  test('what is restored is a template without anything that was only needed meanwhile', async () => {
    const { templateId, name } = await restored('-n', 'complete');
    const { template } = world.sandbox.world.templates.get(templateId)!;
    expect(template.get('ONEVMDUMP_RESTORE')).toBeUndefined();
    expect(template.get('NAME')).toBeUndefined();
    const disks = template.vectors('DISK');
    expect(disks.map((disk) => disk.has('IMAGE'))).toEqual([false, false]);
    const image = world.sandbox.world.images.get(Number(disks[0]?.get('IMAGE_ID')));
    expect(image?.name).toBe(`${name}-disk-0`);
  });

  test('what is restored belongs to the user who restores, which log and report say', async () => {
    const { code, stderr, stdout } = await world.run(['restore', bundle, '-n', 'mine', '--json']);
    expect(code).toBe(0);
    expect(stderr).toContain('everything restored belongs to oneadmin:oneadmin (um-------)');
    expect((JSON.parse(stdout) as Report).owner).toEqual({
      user: 'oneadmin',
      group: 'oneadmin',
      permissions: 'um-------',
    });
  });

  test('what is restored belongs to the user that --owner names: images, template, and the VM before it runs', async () => {
    const { images, templateId, vmId, owner } = await restored(
      ...['-n', 'given', '--owner', 'bob', '--instantiate'],
    );
    expect(owner).toMatchObject({ user: 'bob', group: 'users' });
    const { world: there } = world.sandbox;
    const made = [
      there.templates.get(templateId)!,
      there.vms.get(vmId!)!,
      ...images.map(({ imageId }) => there.images.get(imageId)!),
    ];
    expect(made.map(({ uname, gname }) => `${uname}:${gname}`)).toEqual(
      made.map(() => 'bob:users'),
    );
    const last = methods().slice(methods().indexOf('one.template.instantiate'));
    expect(last).toEqual(['one.template.instantiate', 'one.vm.chown', 'one.vm.action']);
  });

  test.each(['one.image.chown', 'one.template.chown', 'one.vm.chown', 'one.vm.action'])(
    'what is restored is all gone when it cannot be given away (%s)',
    async (method) => {
      world.sandbox.failNext(method, 512, 'told to fail');
      const ended = await world.run([
        ...['restore', bundle, '-n', 'not given', '--owner', 'bob', '--instantiate'],
      ]);
      expect({ code: ended.code, line: lastLine(ended) }).toEqual({
        code: 6,
        line: expect.stringContaining('told to fail') as unknown,
      });
      await world.sandbox.settle();
      expect(everything()).toEqual(atBeginning);
    },
  );

  test('what is restored cannot be given away by a user who is no administrator', async () => {
    const auth = join(world.sandbox.dir, '.one/bob_auth');
    const ended = await world.run(['restore', bundle, '--owner', 'oneadmin'], {
      env: { ONE_AUTH: auth },
    });
    expect(ended.code).toBe(2);
    expect(lastLine(ended)).toContain('only administrators may use --owner, and bob is not one');
  });
});

describe('two restores at once', () => {
  test('two restores at once get default names of their own', async () => {
    world.sandbox.delay('one.templatepool.info', 300);
    const [first, second] = await Promise.all([restored(), restored()]);
    world.sandbox.delay('one.templatepool.info', 0);
    expect(first.name).not.toBe(second.name);
  });

  test('of two restores at once under one name one succeeds, and the other is refused before it moves data', async () => {
    world.sandbox.delay('one.templatepool.info', 300);
    const both = await Promise.all(
      [1, 2].map(() => world.run(['restore', bundle, '-n', 'wanted by two'])),
    );
    world.sandbox.delay('one.templatepool.info', 0);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 2]);
    const loser = both.find(({ code }) => code === 2)!;
    // It sees the template, or oned refuses its own: both are soon enough.
    expect(lastLine(loser)).toMatch(/the name wanted by two is taken by (?:a|the) template/);
    expect(methods().filter((method) => method === 'one.image.allocate')).toHaveLength(1);
    await world.sandbox.settle();
    expect(everything().filter((one) => one.includes('wanted by two'))).toHaveLength(2);
  });
});

const makingCalls = ['one.template.allocate', 'one.image.allocate', 'one.template.instantiate'];

interface SlowOned {
  readonly env: { readonly ONE_XMLRPC: string };
}

const proxies: Server[] = [];

afterEach(() => {
  for (const proxy of proxies.splice(0)) {
    proxy.closeAllConnections();
    proxy.close();
  }
});

/** oned behind a proxy, which answers calls of `method` after `around` has come to its end. */
async function slowOned(
  method: string,
  around: (answer: () => Promise<Response>) => Promise<Response>,
): Promise<SlowOned> {
  const proxy = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const ask = () => fetch(world.sandbox.endpoint, { method: 'POST', body });
      const slow = body.includes(`<methodName>${method}</methodName>`);
      const answer = await (slow ? around(ask) : ask());
      response.writeHead(answer.status, { Connection: 'close' }).end(await answer.text());
    })().catch(() => response.destroy());
  });
  proxies.push(proxy);
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  return { env: { ONE_XMLRPC: `http://127.0.0.1:${port}/RPC2` } };
}

describe('a restore that is interrupted while oned is making something', () => {
  test.each(makingCalls)(
    'a restore that is interrupted while oned carries out %s deletes what is made of it afterwards',
    async (method) => {
      let interrupt: () => void = () => undefined;
      const oned = await slowOned(method, async (answer) => {
        interrupt();
        await sleep(1500);
        return answer();
      });
      const { code } = await world.run(['restore', bundle, '--instantiate'], {
        env: oned.env,
        started: (pid) => {
          interrupt = () => process.kill(pid, 'SIGINT');
        },
      });
      await sleep(2000);
      await world.sandbox.settle();
      expect(methods()).toContain(method);
      expect({ code, left: everything() }).toEqual({ code: 130, left: atBeginning });
    },
  );
});

describe('a restore that is killed while oned is making something', () => {
  /** A restore that is killed at the first call of `method`. @param reaches whether the call gets to oned, late */
  async function killed(method: string, reaches: boolean): Promise<SlowOned> {
    let kill: () => void = () => undefined;
    const oned = await slowOned(method, async (answer) => {
      kill();
      await sleep(2000);
      if (!reaches) throw new Error('lost');
      return answer();
    });
    const { code } = await world.run(['restore', bundle, '--instantiate'], {
      env: oned.env,
      started: (pid) => {
        kill = () => process.kill(pid, 'SIGKILL');
      },
    });
    expect(code).not.toBe(0);
    return oned;
  }

  test.each(makingCalls)(
    'cleanup after a restore that was killed in %s waits for what oned makes of it and deletes that',
    async (method) => {
      const oned = await killed(method, true);
      const { code, stderr } = await world.run(['cleanup'], { env: oned.env });
      expect(methods()).toContain(method);
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) as unknown });
      await world.sandbox.settle();
      expect(everything()).toEqual(atBeginning);
    },
  );

  test.each(makingCalls)(
    'cleanup after a restore that was killed in %s, which oned never carries out, says when that is certain, and is right',
    async (method) => {
      const oned = await killed(method, false);
      const early = await world.run(['cleanup'], { env: oned.env });
      expect(early.code).toBe(1);
      expect(early.stderr).toMatch(
        /OpenNebula may still be making (?:template|image|VM) \S+: run onevmdump cleanup again in \d+ s/,
      );
      const late = await world.run(['cleanup'], {
        env: { ...oned.env, ONEVMDUMP_XMLRPC_TIMEOUT: '1' },
      });
      expect({ code: late.code, left: everything() }).toEqual({ code: 0, left: atBeginning });
    },
  );

  test('cleanup after a restore that was killed in a call that oned then refuses has nothing to delete', async () => {
    world.sandbox.failNext('one.image.allocate', 2048, 'told to fail');
    const oned = await killed('one.image.allocate', true);
    const late = await world.run(['cleanup'], {
      env: { ...oned.env, ONEVMDUMP_XMLRPC_TIMEOUT: '1' },
    });
    await world.sandbox.settle();
    expect({ code: late.code, left: everything() }).toEqual({ code: 0, left: atBeginning });
  });
});
