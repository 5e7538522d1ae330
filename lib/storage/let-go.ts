// The ways in which a held guest goes on: by us, by the journal's undo, or by the guard, a small shell
// process beside us that needs nothing of us.
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from '../report/errors.ts';
import type { ServiceEnd } from '../run/runner.ts';
import {
  domainState,
  resumeDomain,
  setAgentTimeout,
  thawFileSystems,
  virshArgs,
  type Domain,
} from '../tools/virsh.ts';

/** A guest is never held longer than this, also by a process that hangs. */
export const guardLimitMs = 60_000;
/** How long a thaw is tried again; then it is left to the guard and to `cleanup`. */
const thawLimitMs = 20_000;
const pauseMs = 250;

// Waits until the process that started it has ended, or the time is over; then runs the command until
// it succeeds, for ten minutes at most; and once more, since what was to hold the guest can have been on
// its way when we died. A process whose parent ends gets another one, also when nobody has
// taken note of the end: proc(5). $1 is a name to find it by, $2 the time in seconds.
const guardScript = `
end=$(($(date +%s) + $2))
shift 2
while read -r pid name state parent rest <"/proc/$$/stat" &&
  [ "$parent" = "$PPID" ] && [ "$(date +%s)" -lt "$end" ]; do sleep 0.5; done
tries=0
until "$@" >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || exit 1
  sleep 2
done
sleep 3
"$@" >/dev/null 2>&1`;

export interface Guard {
  /** How it has ended, or that it cannot be seen any more: then it has let the guest go, or is about to. */
  readonly gone: () => ServiceEnd | undefined;
  stop(): Promise<void>;
}

/** Starts the guard of a guest that is about to be held. `name` is what stop-process finds it by. */
export async function startGuard(
  domain: Domain,
  action: 'domfsthaw' | 'resume',
  name: string,
): Promise<Guard> {
  const command = ['virsh', ...virshArgs(domain.uri, action, domain.name)];
  const service = await domain.runner.start({
    program: 'sh',
    args: ['-c', guardScript, 'sh', name, String(guardLimitMs / 1000), ...command],
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
 * @throws CommandError with the last reason.
 */
export async function thawUntilConfirmed(domain: Domain, limitMs = thawLimitMs): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      await thawFileSystems(domain);
      return;
    } catch (error) {
      // The undo has a runner that is not interrupted.
      if (error instanceof InterruptedError) throw error;
      // Where libvirt does not answer at all, it is asked again, too.
      if (!(await isThere(domain).catch(() => true))) return;
      if (performance.now() > deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

/** For an undo: thaws, and gives libvirt back its patience with the agent, if it can. */
export async function undoFreeze(domain: Domain): Promise<void> {
  await thawUntilConfirmed(domain);
  // The guest is thawed, and that is what counts; it may also be gone.
  await setAgentTimeout(domain).catch(() => undefined);
}

/** For an undo: resumes a guest that is paused. @throws CommandError with the last reason. */
export async function undoSuspend(domain: Domain): Promise<void> {
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

async function isThere(domain: Domain): Promise<boolean> {
  const state = await domainState(domain);
  return state !== undefined && state !== 'shut off';
}
