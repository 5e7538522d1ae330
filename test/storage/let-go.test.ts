// A guest that was let go is not let go once more, days later, by a stale undo: then somebody else holds it.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from '../../lib/run/runner.ts';
import { startGuard, undoFreeze, undoSuspend } from '../../lib/storage/let-go.ts';
import { domainAt } from '../../lib/tools/virsh.ts';
import { guardMark, guardName } from '../../lib/vm/names.ts';
import { until } from '../limits.ts';
import { fakeLibvirt } from './fake-libvirt.ts';

let guard: string;
let folder: string;
beforeEach(async () => {
  guard = guardName(randomBytes(8).toString('hex'));
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-let-go-'));
});
afterEach(async () => {
  await rm(guardMark(guard), { force: true });
  await rm(folder, { recursive: true, force: true });
});

/** A domain that somebody else has frozen or paused just now. */
async function held(how: 'domfsfreeze' | 'suspend') {
  const libvirt = fakeLibvirt({ name: 'one-8' });
  const args = ['--connect', 'x:///', how, 'one-8'];
  await libvirt.runner.run({ program: 'virsh', args });
  return { libvirt, domain: domainAt(libvirt.runner, 'x:///', 'one-8') };
}

test('a guest that is paused is resumed when nobody knows that it was', async () => {
  const { libvirt, domain } = await held('suspend');
  await undoSuspend(domain, guard);
  expect(libvirt.paused()).toBe(false);
});

test('a guest that is frozen is thawed when nobody knows that it was', async () => {
  const { libvirt, domain } = await held('domfsfreeze');
  await undoFreeze(domain, guard);
  expect(libvirt.frozen()).toBe(false);
});

test('a guest that the guard has resumed, and somebody has paused since, stays paused', async () => {
  const { libvirt, domain } = await held('suspend');
  await writeFile(guardMark(guard), '');
  await undoSuspend(domain, guard);
  expect(libvirt.paused()).toBe(true);
  expect(existsSync(guardMark(guard))).toBe(false);
});

test('a guest that the guard has thawed, and somebody has frozen since, stays frozen', async () => {
  const { libvirt, domain } = await held('domfsfreeze');
  await writeFile(guardMark(guard), '');
  await undoFreeze(domain, guard);
  expect(libvirt.frozen()).toBe(true);
  expect(existsSync(guardMark(guard))).toBe(false);
});

/** Runs the guard as the child of a process that ends soon, with a virsh that does this. */
async function guardAlone(virsh: string): Promise<void> {
  const started: Command[] = [];
  const { libvirt } = await held('suspend');
  const start = (command: Command): ReturnType<typeof libvirt.runner.start> => {
    started.push(command);
    return libvirt.runner.start(command);
  };
  await startGuard(domainAt({ ...libvirt.runner, start }, 'x:///', 'one-8'), 'resume', guard);
  await writeFile(join(folder, 'virsh'), `#!/bin/sh\necho "$*" >>'${folder}/calls'\n${virsh}\n`);
  await chmod(join(folder, 'virsh'), 0o755);
  const [{ program, args }] = started as [Command];
  execFileSync('sh', ['-c', '"$@" >/dev/null 2>&1 & sleep 1', 'sh', program, ...args], {
    env: { PATH: `${folder}:${process.env['PATH'] ?? ''}` },
  });
}

test('the guard of a process that has ended says that it has resumed the guest', async () => {
  await guardAlone('exit 0');
  await until('the guard has ended', () => existsSync(guardMark(guard)));
  const calls = readFileSync(join(folder, 'calls'), 'utf8');
  expect(calls).toBe('--connect x:/// resume one-8\n'.repeat(2));
});

test('a guard says nothing of the kind when its last word was refused', async () => {
  // Refused when it is asked the second time, and that is the last time.
  await guardAlone(`[ "$(wc -l <'${folder}/calls')" = 1 ]`);
  await until('the guard has ended', () => {
    const seen = execFileSync('sh', ['-c', 'pgrep -f "$1" || true', 'pgrep', guard]);
    return seen.toString().trim().split('\n').length <= 1;
  });
  expect(existsSync(guardMark(guard))).toBe(false);
});
