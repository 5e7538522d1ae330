// The export hook as OpenNebula's hook manager runs it: input, choice of VMs, result, refusals.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sh } from '../support/shell.ts';
import { hook, leftOf, makeHookWorld, type HookWorld } from './hook-world.ts';

const fixtures = new URL('../fixtures/hooks/', import.meta.url).pathname;
const recorded = (name: string) => readFile(join(fixtures, name), 'utf8');
const marked = '<ONEVMDUMP_EXPORT>YES</ONEVMDUMP_EXPORT>';

let world: HookWorld;
beforeAll(async () => {
  world = await makeHookWorld();
});
afterAll(() => world.close());
beforeEach(async () => {
  for (const name of await world.bundleNames()) await rm(join(world.bundles, name));
});

/** The recorded VM 104, powered off, with disks as its XML says. */
async function makeRecordedVm(): Promise<void> {
  const xml = Buffer.from(await recorded('state-poweroff.stdin'), 'base64').toString();
  world.sandbox.addVm(xml);
  const folder = join(world.datastores, '0', '104');
  await mkdir(folder, { recursive: true });
  for (const [id, format, size] of [
    [0, 'qcow2', '256M'],
    [1, 'qcow2', '30M'],
    [2, 'raw', '21M'],
    [3, 'raw', '64M'],
    [4, 'raw', '16M'],
  ] as const) {
    await sh('qemu-img', 'create', '-q', '-f', format, join(folder, `disk.${id}`), size);
  }
}

describe('recorded calls', () => {
  beforeAll(makeRecordedVm);
  const all = { ONEVMDUMP_HOOK_VMS: 'all' };

  test.each(['state-poweroff.stdin', 'remote-yes.stdin'])(
    'a hook with the recorded call %s makes a complete bundle, and its path is all of stdout',
    async (name) => {
      const { code, stdout, stderr } = await world.runHook(await recorded(name), { env: all });
      expect({ code, stderr: stderr.includes('ERROR') }).toEqual({ code: 0, stderr: false });
      expect(stdout).toMatch(/^\/.*\/onevmdump-104-\d+\.tar\.gz\n$/);
      expect((await world.run(['verify', stdout.trim()])).code).toBe(0);
      const members = await sh('tar', '-tzf', stdout.trim());
      for (const id of [0, 1, 2, 3, 4]) expect(members).toContain(`./backup.disk.${id}\n`);
      expect(await leftOf(world)).toEqual([]);
      expect(world.sandbox.vmXml(104)).not.toContain('<LOCKED>');
      await rm(stdout.trim());
    },
  );

  test('a hook with arguments finds the word that is the XML, and does not read stdin', async () => {
    // The recorder has split this line at each '=', the one that pads the base64 too.
    const text = await recorded('arguments-on-argv.argv');
    const words = [...text.matchAll(/^argv[1-9]=?(.*)$/gm)].map(([, word = '']) =>
      word.length % 4 === 3 ? `${word}=` : word,
    );
    expect([words[0], words[1], words[3]]).toEqual(['first', 'second', 'last']);
    const { code, stdout } = await world.runHook('', { args: words, env: all });
    expect(code).toBe(0);
    expect(stdout).toMatch(/onevmdump-104-\d+\.tar\.gz\n$/);
  });

  test('a hook on a running VM that OpenNebula does not know refuses it, and leaves nothing', async () => {
    const { code, stdout, stderr } = await world.runHook(await recorded('state-running.stdin'), {
      env: all,
    });
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(stderr).toContain('Error getting virtual machine [103]');
    expect(await leftOf(world)).toEqual([]);
  });

  test("a hook on an API call says that its input is not a VM's XML", async () => {
    const { code, stderr } = await world.runHook(await recorded('api-vm-lock.stdin'));
    expect(code).toBe(2);
    expect(stderr.trim()).toBe("this is not a VM's XML: its root element is <CALL_INFO>, not <VM>");
  });
});

describe('a VM that was in the state before', () => {
  beforeAll(() => world.makeVm(21));

  /** The hook's input for a VM that came from that state. */
  const cameFrom = (state: number, lcmState: number): string => {
    const xml = world.sandbox.prettyVmXml(21);
    const changed = xml
      .replace(/<PREV_STATE>\d+/, `<PREV_STATE>${state}`)
      .replace(/<PREV_LCM_STATE>\d+/, `<PREV_LCM_STATE>${lcmState}`);
    expect(changed).toContain(`<PREV_LCM_STATE>${lcmState}<`);
    return Buffer.from(changed).toString('base64');
  };

  test.each([
    [70, 'BACKUP_POWEROFF'],
    [71, 'RESTORE'],
    [51, 'DISK_SNAPSHOT_POWEROFF'],
    [33, 'HOTPLUG_PROLOG_POWEROFF'],
  ])(
    'a hook leaves a VM alone that was in the same state before some work of OpenNebula on it (LCM_STATE %d)',
    async (lcmState, name) => {
      const calls = world.sandbox.calls.length;
      const { code, stdout, stderr } = await world.runHook(cameFrom(3, lcmState));
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
      expect(stderr).toContain(
        `VM 21 is POWEROFF again after ${name}, as it was before: nothing to do`,
      );
      expect(world.sandbox.calls).toHaveLength(calls);
      expect(await leftOf(world)).toEqual([]);
    },
  );

  test.each([
    [3, 18, 'which has been shut down'],
    [3, 16, 'which was not seen for a while, and may have been powered off'],
    [8, 0, 'of which nothing is said'],
  ])('a hook exports a VM that came from state %d, LCM_STATE %d, %s', async (state, lcmState) => {
    const { code, stdout } = await world.runHook(cameFrom(state, lcmState));
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toContain('onevmdump-21-');
    await rm(stdout.trim());
  });
});

describe('input', () => {
  beforeAll(() => world.makeVm(20));

  test('a hook takes plain XML on stdin like base64', async () => {
    const { code, stdout } = await world.runHook(world.sandbox.prettyVmXml(20));
    expect(code).toBe(0);
    expect(stdout).toContain('onevmdump-20-');
  });

  test('a hook takes plain XML as one argument', async () => {
    const { code, stdout } = await world.runHook('', { args: [world.sandbox.vmXml(20)] });
    expect(code).toBe(0);
    expect(stdout).toContain('onevmdump-20-');
  });

  test('a hook refuses several arguments of which none, or two, are XML', async () => {
    const xml = world.hookInput(20);
    for (const [args, count] of [
      [['first', 'second'], 0],
      [[xml, xml], 2],
    ] as const) {
      const { code, stderr } = await world.runHook('', { args });
      expect(code).toBe(2);
      expect(stderr).toContain(`${count} of the 2 arguments are a VM's XML`);
    }
  });

  test.each([
    ['nothing', () => '', 'the input is empty'],
    ['half of the base64', () => world.hookInput(20).slice(0, 1001), 'neither XML nor base64'],
    ['base64 of half the XML', () => cut(), 'is not usable as XML'],
    ['text', () => 'export 20', 'neither XML nor base64'],
  ])('a hook refuses %s before anything is done', async (_what, input, told) => {
    const calls = world.sandbox.calls.length;
    const { code, stdout, stderr } = await world.runHook(input());
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(told);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(world.sandbox.calls).toHaveLength(calls);
    expect(await world.bundleNames()).toEqual([]);
  });

  const cut = () => Buffer.from(world.sandbox.vmXml(20).slice(0, 900)).toString('base64');
});

describe('which VMs', () => {
  test.each(['', '<ONEVMDUMP_EXPORT>NO</ONEVMDUMP_EXPORT>', '<ONEVMDUMP_EXPORT/>'])(
    'a hook leaves a VM that is not marked alone in one line: %s',
    async (userTemplate) => {
      await world.makeVm(21, userTemplate);
      const { code, stdout, stderr } = await world.runHook(21);
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
      expect(stderr).toBe(
        'INFO: export: VM 21 is not marked by ONEVMDUMP_EXPORT = "YES": nothing to do\n',
      );
      expect(await world.bundleNames()).toEqual([]);
    },
  );

  test('a hook with HOOK_VMS = all exports a VM without a mark', async () => {
    await world.makeVm(22, '');
    const { code } = await world.runHook(22, { env: { ONEVMDUMP_HOOK_VMS: 'all' } });
    expect(code).toBe(0);
    expect(await world.bundleNames()).toHaveLength(1);
  });

  test("values of the VM's owner are never run by a hook, and an invalid mark is a warning", async () => {
    const trap = join(world.folder, 'trapped');
    const hostile = `\`touch ${trap}\`$(touch ${trap})'"; touch ${trap}; \\`;
    await world.makeVm(
      23,
      `<ONEVMDUMP_EXPORT><![CDATA[${hostile}]]></ONEVMDUMP_EXPORT><HOOK_DESTINATION>/etc</HOOK_DESTINATION>`,
    );
    const { code, stderr } = await world.runHook(23);
    expect(code).toBe(0);
    expect(stderr).toContain('WARNING: export: VM 23: ONEVMDUMP_EXPORT = "`touch ');
    expect(stderr).toContain('is neither YES nor NO and is treated as NO');
    await expect(readFile(trap)).rejects.toThrow('ENOENT');
  });

  test("the VM's owner cannot choose where a hook puts the bundle", async () => {
    await world.makeVm(
      24,
      `${marked}<ONEVMDUMP_HOOK_DESTINATION>/etc</ONEVMDUMP_HOOK_DESTINATION><HOOK_DESTINATION>/etc</HOOK_DESTINATION>`,
    );
    const { code, stdout } = await world.runHook(24);
    expect(code).toBe(0);
    expect(stdout.startsWith(`${world.bundles}/onevmdump-24-`)).toBe(true);
  });
});

describe('refusals', () => {
  beforeAll(() => world.makeVm(25));

  test('a hook without a folder for its bundles says which setting is missing', async () => {
    const { code, stderr } = await world.runHook(25, { env: { ONEVMDUMP_HOOK_DESTINATION: '' } });
    expect(code).toBe(2);
    expect(stderr).toContain('set HOOK_DESTINATION in onevmdump.conf');
  });

  test('a hook whose destination is a file refuses it as a folder for bundles', async () => {
    const file = join(world.folder, 'file');
    await writeFile(file, 'mine');
    const { code } = await world.runHook(25, { env: { ONEVMDUMP_HOOK_DESTINATION: file } });
    expect(code).not.toBe(0);
    expect(await readFile(file, 'utf8')).toBe('mine');
  });

  test('a hook without OpenNebula exports nothing and leaves nothing', async () => {
    const { code, stdout, stderr } = await world.runHook(25, {
      env: { ONE_XMLRPC: 'http://127.0.0.1:1/RPC2' },
    });
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(stderr).toContain('connection refused; is oned running there?');
    expect(await leftOf(world)).toEqual([]);
    expect(await world.bundleNames()).toEqual([]);
  });

  test('a hook with HOOK_LOCK = no exports without OpenNebula on a host without credentials', async () => {
    const calls = world.sandbox.calls.length;
    const { code, stdout } = await world.runHook(25, {
      env: { ONE_AUTH: '/nowhere', ONE_XMLRPC: undefined, ONEVMDUMP_HOOK_LOCK: 'no' },
    });
    expect(code).toBe(0);
    expect(stdout).toContain('onevmdump-25-');
    expect(world.sandbox.calls).toHaveLength(calls);
  });

  test('a hook does not export a VM whose state has changed since the trigger, and a retry later works', async () => {
    await world.makeVm(26);
    const input = world.hookInput(26);
    world.sandbox.setState(26, 3, 2);
    const { code, stderr } = await world.runHook(input);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'VM 26 went from POWEROFF to BOOT before the hook started; nothing was exported',
    );
    world.sandbox.setState(26, 8, 0);
    expect((await world.runHook(input)).code).toBe(0);
    expect(await leftOf(world)).toEqual([]);
  });

  test('a hook refuses a VM in a state that cannot be exported', async () => {
    await world.makeVm(27);
    world.sandbox.setState(27, 5, 0);
    const { code, stderr } = await world.runHook(27);
    expect(code).toBe(3);
    expect(stderr).toContain('VM 27 is in state SUSPENDED');
  });
});

test('a hook refuses a VM that KVM does not run', async () => {
  await world.makeVm(28);
  const xml = Buffer.from(world.hookInput(28), 'base64').toString();
  expect(xml).toMatch(/<VM_MAD>.*kvm.*<\/VM_MAD>/);
  const { code, stderr } = await world.runHook(
    xml.replace(/<VM_MAD>.*<\/VM_MAD>/, '<VM_MAD>lxc</VM_MAD>'),
  );
  expect(code).toBe(3);
  expect(stderr).toContain('VM 28 is not run by KVM, but by LXC (VM_MAD lxc)');
});

describe('errors of the part that is loaded when needed', () => {
  test.each([
    { kind: 'UsageError', env: { ONEVMDUMP_HOOK_DESTINATION: '' }, code: 2, says: /no folder/ },
    { kind: 'UnsupportedError', state: 5, code: 3, says: /is in state SUSPENDED/ },
    {
      kind: 'OpenNebulaError',
      env: { ONEVMDUMP_HOOK_LOCK: 'yes', ONE_XMLRPC: 'http://127.0.0.1:9/RPC2' },
      code: 6,
      says: /127\.0\.0\.1:9/,
    },
  ])('end the export hook with the exit code of a $kind', async ({ env, state, code, says }) => {
    await world.makeVm(29);
    if (state !== undefined) world.sandbox.setState(29, state, 0);
    const ended = await world.runHook(29, env ? { env } : {});
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr.trim().split('\n').at(-1)).toMatch(says);
    expect(ended.stderr).not.toContain('internal error');
  });
});

describe('the programs', () => {
  test('the hook programs run from another folder, with nothing but a PATH and a HOME', async () => {
    await world.makeVm(28);
    const folder = join(world.folder, 'remotes/hooks/onevmdump');
    await cp(dirname(hook), folder, { recursive: true });
    const config = join(world.folder, 'hook.conf');
    await writeFile(
      config,
      `HOOK_DESTINATION = ${world.bundles}\nDATASTORE_LOCATION = ${world.datastores}\nSTATE_DIR = ${world.folder}/state\n`,
    );
    await mkdir(join(world.folder, '.one'), { recursive: true });
    await copyFile(world.sandbox.authFile, join(world.folder, '.one/one_auth'));
    await writeFile(join(world.folder, '.one/one_endpoint'), world.sandbox.endpoint);
    const out = await sh(
      'bash',
      '-c',
      `printf %s "$1" | env -i PATH="$PATH" HOME="$2" ONEVMDUMP_CONFIG="$3" "$4"`,
      'sh',
      world.hookInput(28),
      world.folder,
      config,
      join(folder, 'export'),
    );
    expect(out).toContain('onevmdump-28-');
  });
});
