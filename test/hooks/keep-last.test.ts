// Which old bundles go when a new one is complete.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { chown, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { writeBundle, noCompression } from '../support/write-bundle.ts';
import type { Manifest } from '../../lib/bundle/format/manifest.ts';
import { madeAt } from '../support/file-vm.ts';
import { leftOf, makeHookWorld, type HookWorld } from './hook-world.ts';

const isRoot = userInfo().uid === 0;

let world: HookWorld;
beforeAll(async () => {
  world = await makeHookWorld();
});
afterAll(() => world.close());
beforeEach(() =>
  rm(world.bundles, { recursive: true, force: true }).then(() => mkdir(world.bundles)),
);

const marked = (keep: string) =>
  `<ONEVMDUMP_EXPORT>yes</ONEVMDUMP_EXPORT><ONEVMDUMP_KEEP_LAST><![CDATA[${keep}]]></ONEVMDUMP_KEEP_LAST>`;
const old = (vmId: number, epoch: number | string, extension = 'tar.gz') =>
  `onevmdump-${vmId}-${epoch}.${extension}`;

/** Bundles of the VM that their name says, that can be read, but for what is said otherwise. */
async function makeFiles(...names: string[]): Promise<void> {
  for (const name of names) await makeBundle(name);
}

async function makeBundle(
  name: string,
  { vm, cloud }: { vm?: Partial<Manifest['vm']>; cloud?: Manifest['cloud'] } = {},
): Promise<void> {
  const id = Number(/-(\d+)-/.exec(name)?.[1] ?? 0);
  await writeBundle(join(world.bundles, name), noCompression, [], {
    vm: { id, name: 'files', state: 'POWEROFF', stime: madeAt(id), ...vm },
    ...(cloud ? { cloud } : {}),
  });
}

/** Exports the VM. @returns what was there before and is still there, and the new bundles. */
async function exportVm(
  vmId: number,
  env: Record<string, string> = {},
): Promise<{ kept: string[]; made: number; stderr: string; code: number | null }> {
  const before = await world.bundleNames();
  const { code, stderr } = await world.runHook(vmId, { env });
  const after = await world.bundleNames();
  const kept = after.filter((name) => before.includes(name));
  return { kept, made: after.length - kept.length, stderr, code };
}

describe('ONEVMDUMP_KEEP_LAST', () => {
  test('ONEVMDUMP_KEEP_LAST removes the oldest of this VM by the time in their names, and tells of each', async () => {
    await world.makeVm(40, marked('3'));
    // As texts they would sort the other way round.
    await makeFiles(old(40, 999), old(40, 1000), old(40, 20_000, 'tar.zst'), old(40, 3000, 'tar'));
    const { kept, made, stderr } = await exportVm(40);
    expect({ kept, made }).toEqual({
      kept: [old(40, 20_000, 'tar.zst'), old(40, 3000, 'tar')],
      made: 1,
    });
    expect(stderr).toContain(`INFO: export: removed ${old(40, 999)}: the last 3 of VM 40 are kept`);
    expect(stderr).toContain(`removed ${old(40, 1000)}`);
  });

  test('ONEVMDUMP_KEEP_LAST counts instead of HOOK_KEEP_LAST', async () => {
    await world.makeVm(41, marked('1'));
    await makeFiles(old(41, 1000), old(41, 2000));
    const { kept, made } = await exportVm(41, { ONEVMDUMP_HOOK_KEEP_LAST: '5' });
    expect({ kept, made }).toEqual({ kept: [], made: 1 });
  });

  test.each(['0', '-1', '2 ', '007', '1e9', 'all', '$(id)', '99999999999999999999', '1\n2'])(
    'ONEVMDUMP_KEEP_LAST is not guessed at when it is %j',
    async (keep) => {
      await world.makeVm(42, marked(keep));
      await makeFiles(old(42, 1000), old(42, 2000), old(42, 3000));
      const { kept, code, stderr } = await exportVm(42, { ONEVMDUMP_HOOK_KEEP_LAST: '3' });
      expect(code).toBe(0);
      if (keep === '2 ') {
        expect(kept).toEqual([old(42, 3000)]);
      } else {
        expect(kept).toEqual([old(42, 2000), old(42, 3000)]);
        expect(stderr).toContain('WARNING: export: VM 42: ONEVMDUMP_KEEP_LAST = ');
        expect(stderr).toContain(
          'is not a number of at least 1; as configured, the last 3 are kept',
        );
      }
    },
  );

  test('ONEVMDUMP_KEEP_LAST cannot ask for more than HOOK_KEEP_LAST_MAX', async () => {
    await world.makeVm(43, marked('400'));
    await makeFiles(old(43, 1000), old(43, 2000), old(43, 3000));
    const { kept, stderr } = await exportVm(43, { ONEVMDUMP_HOOK_KEEP_LAST_MAX: '2' });
    expect(kept).toEqual([old(43, 3000)]);
    expect(stderr).toContain('is more than HOOK_KEEP_LAST_MAX; 2 are kept');
  });
});

describe('old bundles', () => {
  test('all old bundles of a hook stay when no setting says how many to keep', async () => {
    await world.makeVm(44);
    await makeFiles(old(44, 1000), old(44, 2000));
    expect((await exportVm(44)).kept).toHaveLength(2);
  });

  test('old bundles of a hook of which one is dated after the new one do not push the new one out', async () => {
    await world.makeVm(45);
    await makeFiles(old(45, 9_999_999_999), old(45, 1000));
    const { kept, made } = await exportVm(45, { ONEVMDUMP_HOOK_KEEP_LAST: '1' });
    expect({ kept, made }).toEqual({ kept: [], made: 1 });
  });

  test('a hook does not remove files of other VMs, unfinished ones, or any with another name', async () => {
    await world.makeVm(4, marked('1'));
    const others = [
      old(46, 1000),
      old(40, 1000),
      old(4, 1000, 'tar.gz.part'),
      old(4, 1000, 'tar.gz.bak'),
      old(4, '01000'),
      old(4, '-1'),
      `copy-of-${old(4, 1000)}`,
      `ONEVMDUMP-4-1000.tar.gz`,
    ].sort();
    await makeFiles(...others);
    await mkdir(join(world.bundles, old(4, 2000)));
    await writeFile(join(world.bundles, old(4, 3000)), '');
    await symlink('/etc/hostname', join(world.bundles, old(4, 4000)));
    const { kept, made } = await exportVm(4);
    expect(made).toBe(1);
    expect(kept).toEqual([...others, old(4, 2000), old(4, 3000), old(4, 4000)].sort());
  });

  test('a hook neither counts nor removes old bundles that cannot be read, however old', async () => {
    await world.makeVm(50);
    await makeFiles(old(50, 1000), old(50, 2000), old(50, 4000));
    await writeFile(join(world.bundles, old(50, 500)), 'no bundle');
    await writeFile(join(world.bundles, old(50, 3000)), 'no bundle');
    const { kept, stderr } = await exportVm(50, { ONEVMDUMP_HOOK_KEEP_LAST: '3' });
    expect(kept).toEqual([old(50, 2000), old(50, 3000), old(50, 4000), old(50, 500)].sort());
    for (const epoch of [500, 3000]) {
      expect(stderr).toContain(
        `WARNING: export: ${old(50, epoch)} is left alone and is not counted: it has no index`,
      );
    }
  });

  test('a hook neither counts nor removes bundles of another VM with the same id, of another OpenNebula', async () => {
    await world.makeVm(51);
    await makeFiles(old(51, 1000), old(51, 2000));
    // Made in another second, with a UUID that this VM does not have or that nobody knows, or by another cloud's name.
    await makeBundle(old(51, 3000), { vm: { stime: 1_600_000_000 } });
    await makeBundle(old(51, 4000), { vm: { stime: undefined as never, uuid: 'aa-bb' } });
    await makeBundle(old(51, 5000), { cloud: { name: 'west' } });
    const env = { ONEVMDUMP_HOOK_KEEP_LAST: '2', ONEVMDUMP_CLOUD_NAME: 'east' };
    const { kept, stderr } = await exportVm(51, env);
    expect(kept).toEqual([2000, 3000, 4000, 5000].map((epoch) => old(51, epoch)));
    expect(stderr).toContain(
      `${old(51, 3000)} is left alone and is not counted: it is of another VM 51, made at 2020-09-13`,
    );
    expect(stderr).toContain('it does not say which VM 51 it is of');
    expect(stderr).toContain('it is of the cloud "west"');
  });

  (isRoot ? test : test.skip)(
    'a hook neither counts nor removes old bundles of another user',
    async () => {
      await world.makeVm(47);
      await makeFiles(old(47, 9_000_000_000), old(47, 1000));
      await chown(join(world.bundles, old(47, 9_000_000_000)), 65534, 65534);
      const { kept, made } = await exportVm(47, { ONEVMDUMP_HOOK_KEEP_LAST: '2' });
      expect({ kept, made }).toEqual({ kept: [old(47, 1000), old(47, 9_000_000_000)], made: 1 });
    },
  );

  test('old bundles of a hook stay when the new one fails at its last step', async () => {
    await world.makeVm(48, marked('1'));
    await makeFiles(old(48, 1000), old(48, 2000));
    world.sandbox.delay('one.vm.info', 300);
    const before = world.sandbox.calls.length;
    const ended = exportVm(48);
    // After the lock was taken and the VM looked at again, the disks are read; then it has moved on.
    while (
      world.sandbox.calls.slice(before).filter(({ method }) => method === 'one.vm.info').length < 3
    ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await new Promise((resolve) => setTimeout(resolve, 320));
    world.sandbox.setState(48, 3, 2);
    const { kept, made, code } = await ended;
    world.sandbox.delay('one.vm.info', 0);
    expect({ kept, made, code }).toEqual({
      kept: [old(48, 1000), old(48, 2000)],
      made: 0,
      code: 1,
    });
    expect(await leftOf(world)).toEqual([]);
  });
});

describe('HOOK_MIN_AGE', () => {
  test('HOOK_MIN_AGE leaves a VM alone that has a younger bundle, and exports one that has not', async () => {
    await world.makeVm(49);
    const now = Math.floor(Date.now() / 1000);
    await makeFiles(old(49, now - 1000));
    const young = await exportVm(49, { ONEVMDUMP_HOOK_MIN_AGE: '3600' });
    expect({ code: young.code, made: young.made }).toEqual({ code: 0, made: 0 });
    expect(young.stderr).toMatch(/VM 49 was exported 10\d\d s ago, less than HOOK_MIN_AGE/);
    expect((await exportVm(49, { ONEVMDUMP_HOOK_MIN_AGE: '900' })).made).toBe(1);
  });

  test('HOOK_MIN_AGE does not count the bundles of another VM with the same id, nor those that cannot be read', async () => {
    await world.makeVm(52);
    const now = Math.floor(Date.now() / 1000);
    await makeBundle(old(52, now - 1000), { vm: { stime: 1_600_000_000 } });
    await writeFile(join(world.bundles, old(52, now - 500)), 'no bundle');
    const { made } = await exportVm(52, { ONEVMDUMP_HOOK_MIN_AGE: '3600' });
    expect(made).toBe(1);
  });
});

test("a hook's bundle says which VM it is of, and of which OpenNebula", async () => {
  await world.makeVm(53);
  await world.runHook(53, { env: { ONEVMDUMP_CLOUD_NAME: 'east' } });
  const [name = ''] = await world.bundleNames();
  const { stdout } = await world.run(['show', '--json', join(world.bundles, name)]);
  const text = JSON.stringify(JSON.parse(stdout));
  expect(text).toContain(`"stime":${madeAt(53)}`);
  expect(text).toContain(`"cloud":{"name":"east","endpoint":"${world.sandbox.endpoint}"}`);
});
