// The ways in which a held guest goes on: by us, by the journal's undo, or by the watchdog, a small shell
// process beside us that needs nothing of us.
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from '../report/errors.ts';
import type { ServiceEnd } from '../run/runner.ts';
import {
  domainState,
  resumeDomain,
  setAgentTimeout,
  thawFileSystems,
  ThawRefusedError,
  virshArgs,
  type Domain,
} from '../tools/virsh.ts';
import { stopProcesses } from '../run/processes.ts';
import { watchdogMark } from './names.ts';

/** A guest is never held longer than this, also by a process that hangs. */
export const watchdogLimitMs = 60_000;
/** How long a thaw is tried again; then it is left to the watchdog and to `cleanup`. */
const thawLimitMs = 20_000;
const pauseMs = 250;

// Waits until the process that started it has ended, or the time is over; then runs the command until
// it succeeds, for ten minutes at most; and once more, since what was to hold the guest can have been on
// its way when we died. A process whose parent ends gets another one, also when nobody has
// taken note of the end: proc(5). libvirt refuses to resume a guest that runs, so its state is asked first. Last of all
// it leaves a file that says so, since from then on it is somebody else who holds the guest. $1 is a name to find it by, $2
// that file, $3 the time in seconds, $4 and $5 the command and the domain; then virsh itself.
const watchdogScript = `
mark=$2 end=$(($(date +%s) + $3)) action=$4 domain=$5
shift 5
let_go() {
  if [ "$action" = resume ]; then
    state=$("$@" domstate "$domain") || return
    case $state in
      running*) return 0 ;;
      paused*) ;;
      *) return 1 ;;
    esac
  fi
  "$@" "$action" "$domain"
}
while read -r pid name state parent rest <"/proc/$$/stat" &&
  [ "$parent" = "$PPID" ] && [ "$(date +%s)" -lt "$end" ]; do sleep 0.5; done
tries=0
until let_go "$@" >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || exit 1
  sleep 2
done
sleep 3
let_go "$@" >/dev/null 2>&1 || exit
set -C
: >"$mark"`;

export interface Watchdog {
  /** How it has ended, or that it cannot be seen any more: then it has let the guest go, or is about to. */
  readonly gone: () => ServiceEnd | undefined;
  stop(): Promise<void>;
}

/** Starts the watchdog of a guest that is about to be held. `name` is what stop-process finds it by. */
export async function startWatchdog(
  domain: Domain,
  action: 'domfsthaw' | 'resume',
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
 * Thaws a guest, again and again until libvirt confirms it: an agent that hangs freezes late.
 * A guest that is gone needs none.
 * @returns why the freeze did not hold until now; undefined when it did.
 * @throws CommandError, ThawRefusedError: the last reason.
 */
export async function thawUntilConfirmed(
  domain: Domain,
  limitMs = thawLimitMs,
): Promise<string | undefined> {
  const deadline = performance.now() + limitMs;
  let notHeld: string | undefined;
  for (let tries = 1; ; tries++) {
    try {
      const count = await thawFileSystems(domain);
      // The count is there to tell that (guest-fsfreeze-thaw in QEMU's qga/qapi-schema.json). An earlier try may have thawed
      // them, although its answer was lost.
      if (count === 0 && tries === 1) return 'somebody else has thawed them';
      return notHeld;
    } catch (error) {
      if (error instanceof ThawRefusedError) notHeld ??= error.message;
      // The undo has a runner that is not interrupted.
      if (error instanceof InterruptedError) throw error;
      // Where libvirt does not answer at all, it is asked again, too.
      if (!(await isThere(domain).catch(() => true))) return notHeld;
      if (performance.now() > deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

/**
 * For an undo: thaws, unless the watchdog has done so, and gives libvirt back its patience with the agent, if it can.
 * @param watchdog its name
 */
export async function undoFreeze(domain: Domain, watchdog: string): Promise<void> {
  if (!(await hasLetGo(domain, watchdog))) await thawUntilConfirmed(domain);
  // The guest is thawed, and that is what counts; it may also be gone.
  await setAgentTimeout(domain).catch(() => undefined);
  await endWatchdog(domain, watchdog);
}

/**
 * For an undo: resumes a guest that is paused, unless the watchdog has resumed it: then it is somebody else's pause.
 * @param watchdog its name
 * @throws CommandError with the last reason.
 */
export async function undoSuspend(domain: Domain, watchdog: string): Promise<void> {
  if (!(await hasLetGo(domain, watchdog))) await resumeUntilConfirmed(domain);
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

/** Whether the watchdog has let the guest go, for certain. The file is believed to its owner, and root. */
async function hasLetGo({ runner, name }: Domain, watchdog: string): Promise<boolean> {
  const script = '[ -f "$1" ] && { [ -O "$1" ] || [ "$(id -u)" = 0 ]; }';
  const { status } = await runner.run(
    { program: 'sh', args: ['-c', script, 'sh', watchdogMark(watchdog)] },
    { doing: `ask whether the watchdog of ${name} has thawed or resumed it`, acceptStatus: [1] },
  );
  return status === 0;
}

/** Last of all: as long as the guest may be held, the watchdog goes on trying. @param watchdog its name */
export async function endWatchdog({ runner }: Domain, watchdog: string): Promise<void> {
  await stopProcesses(runner, 'sh', watchdog);
  const doing = `remove ${watchdogMark(watchdog)}`;
  await runner.run({ program: 'rm', args: ['-f', '--', watchdogMark(watchdog)] }, { doing });
}

async function isThere(domain: Domain): Promise<boolean> {
  const state = await domainState(domain);
  return state !== undefined && state !== 'shut off';
}
