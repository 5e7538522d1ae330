// Every external command of an export and a restore fails once, and is interrupted once: whatever
// happens, nothing is left and the lock is as before.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeVm } from '../support/make-vm.ts';
import { sh } from '../support/shell.ts';
import { makeStandIns, type StandIns } from '../support/fake-programs.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let standIns: StandIns;
let vmId: number;
let bundle: string;

beforeAll(async () => {
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  await mkdir(join(world.folder, 'kept'));
  bundle = join(world.folder, 'kept', 'bundle.tar.gz');
  const { code, stderr } = await world.run(['export', String(vmId), '-d', bundle]);
  if (code !== 0) throw new Error(stderr);
  standIns = await makeStandIns(world.folder);
});
afterAll(() => world.close());

/** Folders that qemu-nbd's sockets lie in, of runs that named this world's disks. */
async function servers(): Promise<string> {
  return sh('bash', '-c', `ps -eo args | grep '[q]emu-nbd' | grep -F '${world.folder}' || true`);
}

async function expectNothingLeft(): Promise<void> {
  expect(await world.leftovers()).toEqual([]);
  expect(await servers()).toBe('');
  expect(world.sandbox.vmXml(vmId)).not.toContain('<LOCKED>');
}

/** What the user has in OpenNebula. */
async function registered(): Promise<string[]> {
  const pools = await Promise.all(
    ['one.imagepool.info', 'one.templatepool.info'].map((method) =>
      world.one.text(method, -3, -1, -1),
    ),
  );
  return pools.flatMap((pool) =>
    [...pool.matchAll(/<NAME>([^<]*)<\/NAME>/g)].map(([name]) => name),
  );
}

/** Runs `args` once for each external command they run, with that command failing or signalling. */
async function atEachCommand(
  args: readonly string[],
  then: 'fail' | 'SIGTERM' | 'SIGINT',
  check: (ended: { code: number | null; stderr: string }, at: number) => Promise<void>,
): Promise<void> {
  const { env } = standIns;
  await standIns.reset(0, then);
  const sound = await world.run(args, { env });
  expect({ code: sound.code, stderr: sound.code === 0 ? '' : sound.stderr }).toEqual({
    code: 0,
    stderr: '',
  });
  const commands = await standIns.called();
  expect(commands.length).toBeGreaterThan(0);
  for (const file of await readdir(world.bundles)) await rm(join(world.bundles, file));
  for (let at = 1; at <= commands.length; at++) {
    await standIns.reset(at, then);
    await check(await world.run(args, { env }), at);
  }
}

describe('an export', () => {
  test('an export in which any command fails leaves nothing and says which', async () => {
    await atEachCommand(['export', String(vmId)], 'fail', async ({ code, stderr }, at) => {
      const [program] = (await standIns.called()).slice(at - 1);
      if (code === 0) {
        // Only what comes after the last byte was read may fail unnoticed: the undo repeats it.
        expect(program).toBe('rm');
        for (const file of await readdir(world.bundles)) await rm(join(world.bundles, file));
      } else {
        expect([1, 4]).toContain(code);
        expect(stderr).toContain('told to fail');
      }
      await expectNothingLeft();
    });
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'an export that gets %s at any command leaves nothing',
    async (signal) => {
      await atEachCommand(['export', String(vmId)], signal, async ({ code }) => {
        expect(code).toBe(signal === 'SIGTERM' ? 143 : 130);
        await expectNothingLeft();
      });
    },
  );
});

describe('a restore', () => {
  test('a restore that oned refuses at any call deletes what it had registered', async () => {
    for (const [number, method] of [
      'one.user.info',
      'one.templatepool.info',
      'one.imagepool.info',
      'one.datastore.info',
      'one.image.allocate',
      'one.image.info',
      'one.template.allocate',
      'one.template.update',
      'one.template.info',
      'one.template.instantiate',
    ].entries()) {
      const before = await registered();
      world.sandbox.failNext(method, 2048, 'told to fail');
      const args = ['restore', bundle, '--instantiate', '-n', `refused-${number}`];
      const { code, stderr } = await world.run(args);
      // An image that cannot be looked at is no CD-ROM to use again; the bundle has its own.
      if (method === 'one.image.info' && code === 0) {
        await world.sandbox.settle();
        continue;
      }
      expect({ code, told: stderr.includes('told to fail') }).toEqual({ code: 6, told: true });
      await world.sandbox.settle();
      expect(await registered()).toEqual(before);
      expect(await world.leftovers()).toEqual([]);
    }
  });

  test('a restore that gets SIGTERM while its images are copied deletes them', async () => {
    const before = await registered();
    world.sandbox.imageCopyMs = 3000;
    const args = ['restore', bundle, '-n', 'interrupted'];
    const { code } = await world.run(args, {
      started: (pid) => {
        const timer = setInterval(() => {
          if (!world.sandbox.calls.some(({ method }) => method === 'one.image.allocate')) return;
          void registered().then((now) => {
            if (now.length === before.length) return;
            clearInterval(timer);
            process.kill(pid, 'SIGTERM');
          });
        }, 20);
      },
    });
    world.sandbox.imageCopyMs = 1;
    expect(code).toBe(143);
    await world.sandbox.settle();
    expect(await registered()).toEqual(before);
    expect(await world.leftovers()).toEqual([]);
  });
});
