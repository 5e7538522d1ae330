// What a killed export leaves is undone by `cleanup`, and by the next export of the VM.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeVm } from '../support/make-vm.ts';
import { sh } from '../support/shell.ts';
import { slowCompressor } from '../support/slow-compressor.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let vmId: number;
let compressing: string;
let slow: Awaited<ReturnType<typeof slowCompressor>>;

beforeAll(async () => {
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  const bin = join(world.folder, 'slow');
  compressing = join(world.folder, 'compressing');
  await mkdir(bin);
  // An export that compresses by this one is in the middle of its data for as long as we like.
  slow = await slowCompressor(bin, 'igzip', `touch '${compressing}'; exec sleep 100`);
});
afterAll(() => world.close());

beforeEach(async () => {
  await rm(compressing, { force: true });
});
afterEach(async () => {
  for (const name of await readdir(world.bundles)) await rm(join(world.bundles, name));
});

/** An export that is killed while it reads the first disk. */
async function killedExport(): Promise<void> {
  let killing: Promise<unknown> = Promise.resolve();
  const { code } = await world.run(['export', String(vmId)], {
    env: slow,
    started: (pid) => {
      killing = appears(compressing).then(() => process.kill(pid, 'SIGKILL'));
    },
  });
  await killing;
  expect(code).toBe(null);
}

async function appears(path: string): Promise<void> {
  for (let tries = 0; !(await sh('sh', '-c', `ls '${path}' 2>/dev/null || true`)); tries++) {
    if (tries > 1000) throw new Error(`${path} does not appear`);
    await sleep(20);
  }
}

const isLocked = () => world.sandbox.vmXml(vmId).includes('<LOCKED>');
const servers = () => sh('bash', '-c', `ps -eo args | grep '[q]emu-nbd.*${world.folder}' || true`);

async function expectNothingLeft(): Promise<void> {
  expect(await world.leftovers()).toEqual([]);
  expect(await readdir(join(world.folder, 'state', 'claims'))).toEqual([]);
  expect(await servers()).toBe('');
  expect(isLocked()).toBe(false);
}

describe('what a killed export left', () => {
  test('what a killed export left is named by cleanup --dry-run, with the commands that remove it, and stays', async () => {
    await killedExport();
    const before = await world.leftovers();
    const { code, stdout } = await world.run(['cleanup', '--dry-run']);
    expect(code).toBe(0);
    expect(stdout).toContain(`export of VM ${vmId}`);
    expect(stdout).toContain(`unlock it with: onevm unlock ${vmId}`);
    expect(stdout).toMatch(/remove it with: rm -f .*\.tar\.gz\.\w+\.part/);
    expect(await world.leftovers()).toEqual(before);
    expect(isLocked()).toBe(true);
    await world.run(['cleanup']);
  });

  test('what a killed export left is undone by cleanup: lock, part file, folder, server and journal', async () => {
    await killedExport();
    expect(isLocked()).toBe(true);
    const { code, stdout, stderr } = await world.run(['cleanup']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/: undone\n$/);
    await expectNothingLeft();
    expect((await world.run(['cleanup'])).stdout).toBe('nothing is left\n');
  });

  test("what a killed export left is undone by cleanup also where it lies in the user's own state folder", async () => {
    await killedExport();
    const own = join(world.folder, '.local/state');
    await mkdir(own, { recursive: true });
    await rename(join(world.folder, 'state'), join(own, 'onevmdump'));
    const { code, stdout } = await world.run(['cleanup']);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/: undone\n$/) as unknown,
    });
    expect(await readdir(join(own, 'onevmdump/journal'))).toEqual([]);
    expect(await readdir(join(own, 'onevmdump/claims'))).toEqual([]);
    expect(isLocked()).toBe(false);
  });

  test('cleanup and export say so when STATE_DIR cannot be used, instead of looking elsewhere for what a killed export left', async () => {
    const env = { ONEVMDUMP_STATE_DIR: '/dev/null/state' };
    for (const args of [['cleanup'], ['export', String(vmId)]]) {
      const { code, stderr } = await world.run(args, { env });
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringContaining('STATE_DIR: /dev/null/state cannot be written') as unknown,
      });
    }
    expect(isLocked()).toBe(false);
  });

  test('what a killed export left is left alone by cleanup --vm of another VM', async () => {
    await killedExport();
    const { stdout } = await world.run(['cleanup', '--vm', String(vmId + 1)]);
    expect(stdout).toBe('nothing is left\n');
    expect(isLocked()).toBe(true);
    expect((await world.run(['cleanup', '--vm', String(vmId)])).code).toBe(0);
    await expectNothingLeft();
  });

  test('what a killed export left is undone by the next export of the VM, which succeeds', async () => {
    await killedExport();
    const { code, stderr } = await world.run(['export', String(vmId)]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining(`undoing what an export of VM ${vmId} left`) as unknown,
    });
    expect(await readdir(world.bundles)).toHaveLength(1);
    expect(isLocked()).toBe(false);
    expect(await servers()).toBe('');
  });

  test('what a running export has made is not undone by cleanup', async () => {
    let looking: Promise<unknown> = Promise.resolve();
    const { code } = await world.run(['export', String(vmId)], {
      env: slow,
      started: (pid) => {
        looking = appears(compressing).then(async () => {
          const { stdout } = await world.run(['cleanup']);
          process.kill(pid, 'SIGTERM');
          return stdout;
        });
      },
    });
    expect(await looking).toBe('nothing is left\n');
    expect(code).toBe(143);
    await expectNothingLeft();
  });

  test('what a killed export left is kept in the journal as long as OpenNebula cannot be reached', async () => {
    await killedExport();
    await world.sandbox.stop();
    const { code, stderr } = await world.run(['cleanup']);
    expect(code).toBe(1);
    expect(stderr).toContain(`unlock it with: onevm unlock ${vmId}`);
    expect((await world.run(['cleanup', '--dry-run'])).stdout).toContain('onevm unlock');
  });
});
