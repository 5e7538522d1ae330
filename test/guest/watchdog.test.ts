// A guest that was thawed or resumed is not thawed or resumed once more, days later, by a stale undo: then somebody else has
// frozen or paused it.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from '../../lib/run/runner.ts';
import { startWatchdog, undoFreeze, undoSuspend } from '../../lib/guest/watchdog.ts';
import { freezeFileSystems } from '../../lib/tools/fsfreeze.ts';
import { domainAt, suspendDomain } from '../../lib/tools/virsh.ts';
import { watchdogMark, watchdogName } from '../../lib/guest/names.ts';
import { limits, until } from '../support/limits.ts';
import { fakeLibvirt, runningAnswer } from '../support/fake-libvirt.ts';

let watchdog: string;
let folder: string;
beforeEach(async () => {
  watchdog = watchdogName(randomBytes(8).toString('hex'));
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-watchdog-'));
});
afterEach(async () => {
  await rm(watchdogMark(watchdog), { force: true });
  await rm(folder, { recursive: true, force: true });
});

/** A domain that somebody else has frozen or paused just now. */
async function domainThatIs(how: 'frozen' | 'paused') {
  const libvirt = fakeLibvirt({ name: 'one-8' });
  const domain = domainAt(libvirt.runner, 'x:///', 'one-8');
  await (how === 'frozen' ? freezeFileSystems(domain) : suspendDomain(domain));
  return { libvirt, domain };
}

test('a guest of a killed export that is paused is resumed when nobody knows who paused it', async () => {
  const { libvirt, domain } = await domainThatIs('paused');
  await undoSuspend(domain, watchdog);
  expect(libvirt.paused()).toBe(false);
});

test('a guest of a killed export that is frozen is thawed when nobody knows who froze it', async () => {
  const { libvirt, domain } = await domainThatIs('frozen');
  await undoFreeze(domain, watchdog);
  expect(libvirt.frozen()).toBe(false);
});

test('a guest that the watchdog has resumed, and somebody has paused since, stays paused', async () => {
  const { libvirt, domain } = await domainThatIs('paused');
  await writeFile(watchdogMark(watchdog), '');
  await undoSuspend(domain, watchdog);
  expect(libvirt.paused()).toBe(true);
  expect(existsSync(watchdogMark(watchdog))).toBe(false);
});

test('a guest that the watchdog has thawed, and somebody has frozen since, stays frozen', async () => {
  const { libvirt, domain } = await domainThatIs('frozen');
  await writeFile(watchdogMark(watchdog), '');
  await undoFreeze(domain, watchdog);
  expect(libvirt.frozen()).toBe(true);
  expect(existsSync(watchdogMark(watchdog))).toBe(false);
});

/** A virsh that answers for one-8 as libvirt does, and notes what it is told; `meddle` is what it does first of all. */
const virsh = (meddle: string): string => `#!/bin/sh
cd '${folder}' || exit
echo "$*" >>calls
${meddle}
read -r state <state
case "$*" in
  '--connect x:/// domstate one-8') printf '%s\n\n' "$state" ;;
  '--connect x:/// resume one-8')
    [ "$state" = paused ] || { echo 'error: ${runningAnswer}' >&2; exit 1; }
    echo running >state ;;
  '--connect x:/// qemu-agent-command --timeout 20 one-8 {"execute":"guest-fsfreeze-thaw"}') ;;
  *) exit 1 ;;
esac
`;

/** Runs the watchdog of a guest in this state as the child of a process that ends when these lines of sh have ended. */
async function watchdogAlone(
  action: 'resume' | 'thaw',
  state: string,
  { meddle = '', parent = 'sleep 1', limitSeconds = 60 } = {},
): Promise<void> {
  const started: Command[] = [];
  const { libvirt } = await domainThatIs('paused');
  const start = (command: Command): ReturnType<typeof libvirt.runner.start> => {
    started.push(command);
    return libvirt.runner.start(command);
  };
  await startWatchdog(domainAt({ ...libvirt.runner, start }, 'x:///', 'one-8'), action, watchdog);
  await writeFile(join(folder, 'state'), `${state}\n`);
  await writeFile(join(folder, 'virsh'), virsh(meddle));
  await chmod(join(folder, 'virsh'), 0o755);
  const [{ program, args }] = started as [Command];
  const words = args.map((word) => (word === '60' ? String(limitSeconds) : word));
  execFileSync('sh', ['-c', `"$@" >/dev/null 2>&1 &\n${parent}`, 'sh', program, ...words], {
    env: { PATH: `${folder}:${process.env['PATH'] ?? ''}` },
    timeout: limits.soonMs,
  });
}

/** What the watchdog told virsh, by its words. */
const toldVirsh = (): string[] =>
  readFileSync(join(folder, 'calls'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[2] ?? '');

async function watchdogEnds(): Promise<void> {
  await until('the watchdog has ended', () => {
    const seen = execFileSync('sh', ['-c', 'pgrep -f "$1" || true', 'pgrep', watchdog]);
    return seen.toString().trim().split('\n').length <= 1;
  });
}

test('the watchdog of a process that has ended thaws the guest twice, and says so', async () => {
  await watchdogAlone('thaw', 'running');
  await until('the watchdog has ended', () => existsSync(watchdogMark(watchdog)));
  expect(toldVirsh()).toEqual(['qemu-agent-command', 'qemu-agent-command']);
});

// libvirt refuses to resume a guest that runs.
test('the watchdog of a process that has ended resumes a paused guest, and says so', async () => {
  await watchdogAlone('resume', 'paused');
  await until('the watchdog has ended', () => existsSync(watchdogMark(watchdog)));
  expect(toldVirsh()).toEqual(['domstate', 'resume', 'domstate']);
  expect(readFileSync(join(folder, 'state'), 'utf8')).toBe('running\n');
});

test('a watchdog resumes a guest that was paused a moment after its process had ended', async () => {
  const meddle = `[ "$(wc -l <calls)" = 2 ] && echo paused >state`;
  await watchdogAlone('resume', 'running', { meddle });
  await until('the watchdog has ended', () => existsSync(watchdogMark(watchdog)));
  expect(toldVirsh()).toEqual(['domstate', 'domstate', 'resume']);
});

test.each([
  ['libvirt does not answer', '[ "$(wc -l <calls)" -le 2 ] || exit 1'],
  ['the guest neither runs nor is paused', '[ "$(wc -l <calls)" = 3 ] && echo "shut off" >state'],
])(
  'a watchdog does not report that the guest goes on when at its last word %s',
  async (_, meddle) => {
    await watchdogAlone('resume', 'paused', { meddle });
    await watchdogEnds();
    expect(toldVirsh()).toEqual(['domstate', 'resume', 'domstate']);
    expect(existsSync(watchdogMark(watchdog))).toBe(false);
  },
);

describe('when the clock of the host is set', () => {
  /** A `date` whose first answer is the time, and all later ones that time and so many seconds. */
  async function dateJumps(seconds: number): Promise<void> {
    const script = `#!/bin/sh
cd '${folder}' || exit
if [ -e asked ]; then jump=${seconds}; else jump=0; fi
: >asked
exec /bin/date -d "@$(($(/bin/date +%s) + jump))" "$@"
`;
    await writeFile(join(folder, 'date'), script);
    await chmod(join(folder, 'date'), 0o755);
  }

  test('a watchdog does not thaw a guest before its time when the clock of the host is set forward by an hour', async () => {
    await dateJumps(3600);
    const parent = `sleep 3; [ ! -e '${folder}/calls' ]`;
    await watchdogAlone('thaw', 'running', { parent });
    await until('the watchdog has ended', () => existsSync(watchdogMark(watchdog)));
  });

  test('a watchdog thaws a guest in time when the clock of the host is set back by an hour', async () => {
    await dateJumps(-3600);
    const parent = `until [ -e '${folder}/calls' ]; do sleep 0.1; done`;
    await watchdogAlone('thaw', 'running', { parent, limitSeconds: 1 });
    await until('the watchdog has ended', () => existsSync(watchdogMark(watchdog)));
  });
});
