// Thaws or resumes a guest. We do this ourselves; if we cannot, the journal's undo does it, or the watchdog: a small
// separate shell process that needs nothing from us.
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from '../report/errors.ts';
import type { ServiceEnd } from '../run/runner.ts';
import { thawFileSystems, ThawRefusedError } from '../tools/fsfreeze.ts';
import { domainState, resumeDomain, virshArgs, type Domain } from '../tools/virsh.ts';
import { stopProcesses } from '../run/processes.ts';
import { watchdogMark } from './names.ts';

/** No guest stays frozen or paused for longer than this, even if our process hangs. */
export const watchdogLimitMs = 60_000;
/** How long a thaw or resume is repeated; after that it is left to the watchdog and to `cleanup`. */
const thawLimitMs = 20_000;
const pauseMs = 250;

// The script waits until the process that started it has ended, or the time is over. Then it runs the command until
// it succeeds, for ten minutes at most, and once more after that: the command to freeze or pause the guest may still
// have been on its way when we died. A process whose parent ends gets a new parent, even if nobody has waited for the
// old one: proc(5). The time is that of /proc/uptime, because the clock of the host may be set meanwhile. libvirt
// refuses to resume a guest that runs, so the script asks for its state first. It thaws as we do
// (lib/tools/fsfreeze.ts), because `virsh domfsthaw` would wait for a hung agent forever, and would not try again. At
// the end it leaves a file, which says that whoever freezes or pauses the guest from then on is somebody else.
// $1 is the name by which the script is found, $2 that file, $3 the time in seconds, $4 what it does, $5 the domain;
// the rest is virsh with its options.
const watchdogScript = `
read -r uptime rest </proc/uptime
mark=$2 end=$((\${uptime%.*} + $3)) action=$4 domain=$5
shift 5
thaw() { "$@" qemu-agent-command --timeout 20 "$domain" '{"execute":"guest-fsfreeze-thaw"}'; }
resume() {
  state=$("$@" domstate "$domain") || return
  case $state in
    running*) ;;
    paused*) "$@" resume "$domain" ;;
    *) return 1 ;;
  esac
}
while read -r pid name state parent rest <"/proc/$$/stat" && [ "$parent" = "$PPID" ] &&
  read -r uptime rest </proc/uptime && [ "\${uptime%.*}" -lt "$end" ]; do sleep 0.5; done
end=$((\${uptime%.*} + 600))
until "$action" "$@" >/dev/null 2>&1; do
  read -r uptime rest </proc/uptime && [ "\${uptime%.*}" -lt "$end" ] || exit 1
  sleep 2
done
sleep 3
"$action" "$@" >/dev/null 2>&1 || exit
set -C
: >"$mark"`;

export interface Watchdog {
  /**
   * How it has ended, or that the connection to it was lost; undefined as long as neither is so. When it is gone, it
   * has thawed or resumed the guest, or soon will.
   */
  readonly gone: () => ServiceEnd | undefined;
  stop(): Promise<void>;
}

/** Starts the watchdog of a guest that is about to be frozen or paused. `endWatchdog` finds it by `name`. */
export async function startWatchdog(
  domain: Domain,
  action: 'thaw' | 'resume',
  name: string,
): Promise<Watchdog> {
  const limit = String(watchdogLimitMs / 1000);
  const command = [action, domain.name, 'virsh', ...virshArgs(domain.uri)];
  const service = await domain.runner.start({
    program: 'sh',
    args: ['-c', watchdogScript, 'sh', name, watchdogMark(name), limit, ...command],
    endsByItself: true,
  });
  let gone: ServiceEnd | undefined;
  void service.ended.then((end) => {
    gone = end;
  });
  return { gone: () => gone, stop: () => service.stop() };
}

/**
 * Thaws a guest repeatedly until libvirt confirms it, because an agent that hangs freezes late. A guest that is gone
 * needs no thaw.
 * @returns why the freeze ended before the thaw; undefined if it did not.
 * @throws CommandError, ThawRefusedError: the last error.
 */
export async function thawUntilConfirmed(
  domain: Domain,
  limitMs = thawLimitMs,
): Promise<string | undefined> {
  const deadline = performance.now() + limitMs;
  let endedEarly: string | undefined;
  for (let tries = 1; ; tries++) {
    try {
      const count = await thawFileSystems(domain);
      // The agent reports the count for this purpose (guest-fsfreeze-thaw in QEMU's qga/qapi-schema.json). After the
      // first try, 0 proves nothing: an earlier try may have thawed them although its answer was lost.
      if (count === 0 && tries === 1) return 'somebody else has thawed them';
      return endedEarly;
    } catch (error) {
      if (error instanceof ThawRefusedError) endedEarly ??= error.message;
      // Then the undo thaws the guest: no signal interrupts its runner.
      if (error instanceof InterruptedError) throw error;
      // If libvirt does not answer at all, the guest may be there, and the thaw is tried again.
      if (!(await isThere(domain).catch(() => true))) return endedEarly;
      if (performance.now() > deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

/**
 * For an undo: thaws the guest unless the watchdog has done so.
 * @param watchdog its name
 */
export async function undoFreeze(domain: Domain, watchdog: string): Promise<void> {
  if (!(await watchdogHasThawed(domain, watchdog))) await thawUntilConfirmed(domain);
  await endWatchdog(domain, watchdog);
}

/**
 * For an undo: resumes a paused guest, unless the watchdog has resumed it: then somebody else has paused it since.
 * @param watchdog its name
 * @throws CommandError with the last reason.
 */
export async function undoSuspend(domain: Domain, watchdog: string): Promise<void> {
  if (!(await watchdogHasThawed(domain, watchdog))) await resumeUntilConfirmed(domain);
  await endWatchdog(domain, watchdog);
}

async function resumeUntilConfirmed(domain: Domain): Promise<void> {
  const deadline = performance.now() + thawLimitMs;
  for (;;) {
    try {
      if ((await domainState(domain)) === 'paused') await resumeDomain(domain);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

/**
 * Whether the watchdog has certainly thawed or resumed the guest. Its file is trusted only if we own it or are root.
 */
async function watchdogHasThawed({ runner, name }: Domain, watchdog: string): Promise<boolean> {
  const script = '[ -f "$1" ] && { [ -O "$1" ] || [ "$(id -u)" = 0 ]; }';
  const { status } = await runner.run(
    { program: 'sh', args: ['-c', script, 'sh', watchdogMark(watchdog)] },
    { doing: `ask whether the watchdog of ${name} has thawed or resumed it`, acceptStatus: [1] },
  );
  return status === 0;
}

/**
 * Ends the watchdog and removes its file. Called last, so that the watchdog keeps trying as long as the guest may be
 * frozen or paused.
 * @param watchdog its name
 */
export async function endWatchdog({ runner }: Domain, watchdog: string): Promise<void> {
  await stopProcesses(runner, 'sh', watchdog);
  const doing = `remove ${watchdogMark(watchdog)}`;
  await runner.run({ program: 'rm', args: ['-f', '--', watchdogMark(watchdog)] }, { doing });
}

async function isThere(domain: Domain): Promise<boolean> {
  const state = await domainState(domain);
  return state !== undefined && state !== 'shut off';
}
