// Hooks of one VM that run at once, hooks beside an export by hand, and hooks after one that was killed.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { leftOf, makeHookWorld, type HookWorld } from './hook-world.ts';

let world: HookWorld;
beforeAll(async () => {
  world = await makeHookWorld();
});
afterAll(() => world.close());
afterEach(async () => {
  world.sandbox.delay('one.vm.info', 0);
  world.sandbox.delay('one.vm.lock', 0);
  for (const name of await world.bundleNames()) await rm(join(world.bundles, name));
});

async function locked(vmId: number): Promise<void> {
  while (!world.sandbox.vmXml(vmId).includes('<LOCKED>')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until the sandbox was called by `method` since it had `before` calls. */
async function called(method: string, before: number): Promise<void> {
  while (!world.sandbox.calls.slice(before).some((call) => call.method === method)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('triggers for one VM at once', () => {
  test('several hooks triggered for one VM at once make one bundle; the others say so and succeed', async () => {
    await world.makeVm(30);
    world.sandbox.delay('one.vm.info', 1500);
    const ended = await Promise.all([1, 2, 3, 4, 5].map(() => world.runHook(30)));
    expect(ended.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    const printed = ended.filter(({ stdout }) => stdout !== '');
    expect(printed).toHaveLength(1);
    expect(await world.bundleNames()).toHaveLength(1);
    for (const { stdout, stderr } of ended) {
      if (stdout !== '') continue;
      expect(stderr).toMatch(
        /^INFO: export: VM 30 is being exported already, by process \d+.*: nothing to do\n$/,
      );
    }
    expect(world.sandbox.vmXml(30)).not.toContain('<LOCKED>');
    expect(await leftOf(world)).toEqual([]);
  });

  test('hooks triggered for different VMs at once do not wait for each other', async () => {
    await world.makeVm(31);
    await world.makeVm(32);
    const ended = await Promise.all([31, 32].map((vmId) => world.runHook(vmId)));
    expect(ended.map(({ code }) => code)).toEqual([0, 0]);
    expect(await world.bundleNames()).toHaveLength(2);
  });

  test('a hook beside an export by hand leaves the VM to it, and an export by hand beside a hook fails', async () => {
    await world.makeVm(33);
    const before = world.sandbox.calls.length;
    world.sandbox.delay('one.vm.lock', 3000);
    const byHand = world.run(['export', '33']);
    await called('one.vm.lock', before);
    const hook = await world.runHook(33);
    const second = await world.run(['export', '33']);
    expect({ code: hook.code, stdout: hook.stdout }).toEqual({ code: 0, stdout: '' });
    expect(hook.stderr).toContain('is being exported already');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^VM 33 is being exported already, by process \d+, since .*\n$/);
    expect((await byHand).code).toBe(0);
    expect(await world.bundleNames()).toHaveLength(1);
    expect(world.sandbox.vmXml(33)).not.toContain('<LOCKED>');
  });
});

describe('a hook that was ended', () => {
  test('a hook that was ended by SIGKILL has its lock and files undone by the next one, which exports', async () => {
    await world.makeVm(34);
    world.sandbox.delay('one.vm.info', 700);
    let pid = 0;
    const killed = world.runHook(34, { started: (one) => (pid = one) });
    // It has the lock now, and waits for oned's next word on the VM.
    await locked(34);
    process.kill(pid, 'SIGKILL');
    await killed;
    world.sandbox.delay('one.vm.info', 0);
    expect(await leftOf(world)).toHaveLength(3);
    const { code, stdout, stderr } = await world.runHook(34);
    expect(code).toBe(0);
    expect(stdout).toContain('onevmdump-34-');
    expect(stderr).toContain(`undoing what an export of VM 34 left (process ${pid}`);
    expect(world.sandbox.vmXml(34)).not.toContain('<LOCKED>');
    expect(await leftOf(world)).toEqual([]);
  });

  test("a hook that was ended by SIGTERM, as at the end of the hook's TIMEOUT, undoes all and fails", async () => {
    await world.makeVm(35);
    world.sandbox.delay('one.vm.info', 700);
    let pid = 0;
    const ended = world.runHook(35, { started: (one) => (pid = one) });
    await locked(35);
    process.kill(pid, 'SIGTERM');
    const { code, stdout } = await ended;
    expect({ code, stdout }).toEqual({ code: 143, stdout: '' });
    expect(world.sandbox.vmXml(35)).not.toContain('<LOCKED>');
    expect(await leftOf(world)).toEqual([]);
    world.sandbox.delay('one.vm.info', 0);
    expect((await world.runHook(35)).code).toBe(0);
  });
});
