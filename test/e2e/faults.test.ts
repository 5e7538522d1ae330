// What goes wrong beside an export, while it reads its disks: an error that nobody catches, and a state folder that
// becomes full.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeVm } from '../support/make-vm.ts';
import { sh } from '../support/shell.ts';
import { until } from '../support/limits.ts';
import { fileVm } from '../support/file-vm.ts';
import { slowCompressor } from '../support/slow-compressor.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let vmId: number;
let reading: string;
let slow: Awaited<ReturnType<typeof slowCompressor>>;
beforeAll(async () => {
  world = await makeWorld();
  vmId = await makeVm(world.sandbox, world.one, join(world.folder, 'sources'));
  const bin = join(world.folder, 'slow');
  reading = join(world.folder, 'reading');
  await mkdir(bin);
  // An export that compresses by this one is in the middle of its data until there is the second file.
  const line = `touch '${reading}'; until [ -e '${reading}.on' ]; do sleep 0.1; done; all | real`;
  slow = await slowCompressor(bin, 'igzip', line);
});
afterAll(() => world.close());
beforeEach(async () => {
  for (const name of [reading, `${reading}.on`]) await rm(name, { force: true });
  for (const name of await readdir(world.bundles)) await rm(join(world.bundles, name));
});

const isReading = () => readdir(world.folder).then((names) => names.includes('reading'));
const isLocked = () => world.sandbox.vmXml(vmId).includes('<LOCKED>');
const servers = () => sh('bash', '-c', `ps -eo args | grep '[q]emu-nbd.*${world.folder}' || true`);

describe('an error that nobody catches', () => {
  test.each([
    ['an exception in a timer', "throw new Error('out of the blue')"],
    ['a promise that is rejected', "void Promise.reject(new Error('out of the blue'))"],
  ])('%s that nobody catches ends the export, which undoes all it did', async (_what, fault) => {
    // Loaded before the program: goes wrong once the export reads its disks.
    const wrong = join(world.folder, 'wrong.cjs');
    await writeFile(
      wrong,
      `const { existsSync } = require('node:fs');
       const timer = setInterval(() => {
         if (!existsSync(${JSON.stringify(reading)})) return;
         clearInterval(timer);
         ${fault};
       }, 20);
       timer.unref();`,
    );
    const { code, stdout, stderr } = await world.run(['export', String(vmId), '--json'], {
      env: { ...slow, NODE_OPTIONS: `--require=${wrong}` },
    });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'internal-error', exitCode: 1 } });
    expect(stderr).toMatch(/internal error: out of the blue.*\n$/);
    expect(await world.leftovers()).toEqual([]);
    expect(await readdir(join(world.folder, 'state/claims'))).toEqual([]);
    expect(await servers()).toBe('');
    expect(isLocked()).toBe(false);
  });
});

test('an export with --json that is interrupted prints one object with the signal, and undoes all it did', async () => {
  const { code, stdout, stderr } = await world.run(['export', String(vmId), '--json'], {
    env: slow,
    started: (pid) =>
      void until('the disks are read', isReading).then(() => process.kill(pid, 'SIGTERM')),
  });
  expect(code).toBe(143);
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: 'interrupted',
      message: 'interrupted by SIGTERM',
      exitCode: 143,
      signal: 'SIGTERM',
    },
  });
  expect(stderr).toMatch(/interrupted by SIGTERM\n$/);
  expect(await world.leftovers()).toEqual([]);
  expect(isLocked()).toBe(false);
});

/** Containers may have no right to mount, root or not. */
const canMount = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;

(canMount ? describe : describe.skip)('a state folder that becomes full', () => {
  test('an error that nobody catches (%s) ends the export, which undoes all it did', async () => {
    // One disk: for each one more, its server has to be recorded, which would be refused.
    const vm = await fileVm(world.datastores, 90, [{ id: 0 }]);
    await writeFile(vm.path(0), randomBytes(1024 * 1024));
    world.sandbox.addVm(vm.xml);
    const state = join(world.folder, 'small');
    await mkdir(state);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', state]);
    try {
      const ended = world.run(['export', '90'], {
        env: { ...slow, ONEVMDUMP_STATE_DIR: state },
      });
      await until('the disks are read', isReading);
      const fill = writeFile(join(state, 'full'), Buffer.alloc(1024 * 1024));
      await expect(fill).rejects.toThrow('ENOSPC');
      // The rest of the block that the journal has already.
      const [journal = ''] = await readdir(join(state, 'journal'));
      const blanks = writeFile(join(state, 'journal', journal), '\n'.repeat(8192), { flag: 'a' });
      await expect(blanks).rejects.toThrow('ENOSPC');
      await writeFile(`${reading}.on`, '');
      const { code, stdout, stderr } = await ended;
      expect({ code, stderr, bundle: stdout.trim().split('/').at(-1) }).toMatchObject({
        code: 0,
        bundle: (await readdir(world.bundles))[0],
      });
      expect(stderr).toContain('WARNING: onevmdump: cannot write the undo journal');
      expect((await world.run(['verify', stdout.trim()])).code).toBe(0);
      expect(world.sandbox.vmXml(90)).not.toContain('<LOCKED>');
      expect(await readdir(join(state, 'journal'))).toEqual([]);
    } finally {
      execFileSync('umount', ['-l', state]);
    }
  });
});
