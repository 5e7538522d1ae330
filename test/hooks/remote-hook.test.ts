// Hooks on the front-end for VMs whose disks are on other machines (REMOTE_HOST): a real sshd is the host.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { processesWith, useSshd } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { leftOf, makeHookWorld, type HookWorld } from './hook-world.ts';

let sshd: TestSshd;
let restorePath: () => void;
let world: HookWorld;
beforeAll(async () => {
  // The host notes the commands that it gets: the disks of this test can be read here as well.
  sshd = await startSshd({
    shell: 'echo x >>"${0%/*}/calls"; exec sh -c "$SSH_ORIGINAL_COMMAND"',
  });
  restorePath = useSshd(sshd);
  world = await makeHookWorld();
});
afterAll(async () => {
  await world.close();
  restorePath();
  await sshd.stop();
});

const marked = '<ONEVMDUMP_EXPORT>YES</ONEVMDUMP_EXPORT>';
const auto = { ONEVMDUMP_REMOTE_HOST: 'auto' };

async function expectNothingLeft(): Promise<void> {
  expect(await leftOf(world)).toEqual([]);
  expect(await processesWith(sshd.host, 'ServerAlive')).toEqual([]);
}

/** How many commands the host was given since this was asked last. */
async function callsThere(): Promise<number> {
  const file = join(sshd.folder, 'calls');
  const calls = (await readFile(file, 'utf8').catch(() => '')).length;
  await rm(file, { force: true });
  return calls;
}

test('a hook for VMs on hosts reads the disks on the host of the VM, and leaves no connection', async () => {
  await world.makeVm(1, marked, sshd.host);
  const { code, stdout, stderr } = await world.runHook(1, { env: auto });
  expect({ code, error: stderr.includes('ERROR') }).toEqual({ code: 0, error: false });
  expect((await world.run(['verify', stdout.trim()])).code).toBe(0);
  expect(await callsThere()).toBeGreaterThan(0);
  await expectNothingLeft();
});

test('a hook for VMs on hosts reads the disks here when the VM is on this machine', async () => {
  await world.makeVm(2, marked, 'localhost');
  const { code } = await world.runHook(2, { env: auto });
  expect({ code, calls: await callsThere() }).toEqual({ code: 0, calls: 0 });
});

test('a hook for VMs on hosts says so when the host cannot be reached, and leaves nothing', async () => {
  await world.makeVm(3, marked, 'no-such-host.invalid');
  const { code, stdout, stderr } = await world.runHook(3, { env: auto });
  expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
  expect(stderr).toContain('cannot connect to no-such-host.invalid: ');
  expect(world.sandbox.vmXml(3)).not.toContain('<LOCKED>');
  await expectNothingLeft();
});

test('a hook for VMs on hosts exports nothing when the VM has gone to another host meanwhile', async () => {
  await world.makeVm(4, marked, sshd.host);
  const input = world.hookInput(4);
  world.sandbox.addVm(world.sandbox.vmXml(4).replace(sshd.host, 'kvm7'));
  const { code, stderr } = await world.runHook(input, { env: auto });
  expect(code).toBe(1);
  expect(stderr).toContain('VM 4 went to host kvm7 before the hook started');
  await expectNothingLeft();
});

test('a hook for VMs on hosts refuses a VM without a host', async () => {
  await world.makeVm(5, marked, '');
  const { code, stderr } = await world.runHook(5, { env: auto });
  expect(code).toBe(3);
  expect(stderr).toContain('REMOTE_HOST auto: the history of VM 5 (POWEROFF) names no valid host');
});
