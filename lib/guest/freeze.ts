// Freezes or pauses a running guest while the point in time of its disks is fixed, and thaws or resumes it.
// Our freeze must never last: its undo is in the journal before the freeze, a watchdog process thaws the
// guest when we are killed, and a thaw is done when libvirt has confirmed it. A freeze that somebody else
// made is never thawed: another backup relies on it.
import type { ConsistencyLevel } from '../bundle/format/manifest.ts';
import type { FreezeMode } from '../config/freeze-mode.ts';
import { ConnectionError, errorMessage, FailedError } from '../report/errors.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import {
  endWatchdog,
  watchdogLimitMs,
  startWatchdog,
  thawUntilConfirmed,
  type Watchdog,
} from './watchdog.ts';
import { domainOf, requireRunning } from './domain.ts';
import { reachAgent } from './guest-agent.ts';
import { resumeGuest, thawGuest } from './undo.ts';
import {
  FreezeRefusedError,
  freezeFileSystems,
  resumeDomain,
  setAgentTimeout,
  suspendDomain,
  type Domain,
} from '../tools/virsh.ts';
import { watchdogName } from './names.ts';
import type { Vm } from '../vm/vm.ts';

/** Seconds for the agent's answer to a freeze, which has to write out what the guest has cached. */
const freezeSeconds = 20;
/** After a failed freeze: how long the thaw is awaited before the export goes on. */
const thawAfterFailureMs = 6000;

export interface FreezeWish {
  readonly mode: FreezeMode;
  /** Fail if the guest cannot be frozen or paused in this mode. */
  readonly required: boolean;
  /** Milliseconds for which the agent of a guest that is booting is awaited; default none. */
  readonly agentWaitMs?: number;
}

/** How a guest was held. */
export interface Held {
  readonly level: Exclude<ConsistencyLevel, 'offline'>;
  /** Milliseconds; 0 when it was not held. */
  readonly frozenMs: number;
}

/** A guest that is held, or that could not be. */
export interface Hold {
  /** What it is held for; whether that was so to the end, `release` says. */
  readonly level: Held['level'];
  /**
   * Lets the guest go on.
   * @returns `crash` for a guest that has ended its freeze by itself.
   * @throws FailedError when it was not held to the end, and that is required, or our own doing.
   */
  release(): Promise<Held>;
}

/** A guest that is not frozen, and why: it is not frozen now, or will be thawed. */
interface Unfrozen {
  readonly refusal: string;
}

/**
 * Holds the guest of a running VM as requested. An agent that hangs is given up within a minute: OpenNebula's locks are held
 * meanwhile. A guest is paused only for the mode `suspend`: OpenNebula's monitoring takes a paused guest for SUSPENDED.
 * @throws FailedError when it cannot be held and this is required; nothing was changed then.
 */
export async function holdGuest(vm: Vm, { mode, required }: FreezeWish, run: Run): Promise<Hold> {
  const domain = domainOf(vm, run);
  const state = await requireRunning(vm, domain);
  // A guest that somebody has paused writes nothing, and is not ours to resume.
  if (state === 'paused' && mode !== 'agent') {
    return notHeld('suspend');
  }
  if (mode === 'suspend') return await suspend(domain, run);
  if (mode === 'agent') {
    const unfrozen = (what: string): void => {
      if (required) {
        throw new FailedError(
          `${what}; nothing was exported, since that is required (--require-freeze, or FS_FREEZE of a backup)`,
          { code: 'freeze-failed', facts: { vmId: vm.id } },
        );
      }
      run.log.warn(`${what}; its disks will be as after a power cut (crash)`);
    };
    const held = await freeze(domain, run, (why) =>
      unfrozen(`the file systems of VM ${vm.id} did not stay frozen: ${why}`),
    );
    if (!('refusal' in held)) return held;
    unfrozen(`the file systems of VM ${vm.id} cannot be frozen: ${held.refusal}`);
  }
  return notHeld('crash');
}

function notHeld(level: Held['level']): Hold {
  return { level, release: () => Promise.resolve({ level, frozenMs: 0 }) };
}

/**
 * @param onEnded is told why, when the guest has ended its freeze by itself.
 * @throws ConnectionError: nobody knows then what the guest can do.
 */
async function freeze(
  domain: Domain,
  run: Run,
  onEnded: (why: string) => void,
): Promise<Hold | Unfrozen> {
  const { journal, signal, log } = run;
  // Asked first: what a hung agent is told to freeze, it freezes when it comes back; and what is frozen
  // already, somebody else has frozen.
  const refusal = await reachAgent(domain);
  signal.throwIfAborted();
  if (refusal !== undefined) return { refusal };

  const watchdog = watchdogName(journal.runId);
  const { uri, name } = domain;
  const undo = await journal.record(
    thawGuest.undo({ uri, domain: name, guard: watchdog }),
    run.runner.target,
  );
  try {
    await setAgentTimeout(domain, freezeSeconds);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ConnectionError) throw error;
    // Nothing is frozen yet. libvirt before 5.10 has no such command, and would wait for a hung agent for ever.
    await undo.done();
    return { refusal: errorMessage(error) };
  }
  const service = await startWatchdog(domain, 'domfsthaw', watchdog);
  const started = performance.now();
  const thawed = async (): Promise<number> => {
    const heldMs = await released(started, undo, { domain, service, watchdog });
    await setAgentTimeout(domain).catch((error: unknown) => {
      signal.throwIfAborted();
      log.warn(`${errorMessage(error)}; it stays at ${freezeSeconds} s`);
    });
    return inTime(heldMs, started);
  };
  const release = async (): Promise<Held> => {
    const gone = service.gone();
    const ended = await thawUntilConfirmed(domain);
    if (gone) throw letGo(started, gone.lost);
    const frozenMs = await thawed();
    if (ended === undefined) return { level: 'agent', frozenMs };
    onEnded(ended);
    return { level: 'crash', frozenMs: 0 };
  };
  let why: string;
  let lost: ConnectionError | undefined;
  try {
    if ((await freezeFileSystems(domain)) > 0) return { level: 'agent', release };
    why = 'the agent found none to freeze';
  } catch (error) {
    signal.throwIfAborted();
    why = errorMessage(error);
    if (error instanceof FreezeRefusedError) {
      await thawed();
      return { refusal: why };
    }
    if (error instanceof ConnectionError) lost = error;
  }
  try {
    await thawUntilConfirmed(domain, thawAfterFailureMs);
    await thawed();
  } catch (error) {
    signal.throwIfAborted();
    // The watchdog goes on, and so does the undo at the end of the run.
    log.warn(
      `${domain.name} may freeze when its agent comes back; its thaw is kept trying (${errorMessage(error)})`,
    );
  }
  if (lost) throw lost;
  return { refusal: why };
}

async function suspend(domain: Domain, run: Run): Promise<Hold> {
  const watchdog = watchdogName(run.journal.runId);
  const { uri, name } = domain;
  const undo = await run.journal.record(
    resumeGuest.undo({ uri, domain: name, guard: watchdog }),
    run.runner.target,
  );
  const service = await startWatchdog(domain, 'resume', watchdog);
  const started = performance.now();
  await suspendDomain(domain);
  return {
    level: 'suspend',
    release: async () => {
      const gone = service.gone();
      if (gone) throw letGo(started, gone.lost);
      await resumeDomain(domain);
      const heldMs = await released(started, undo, { domain, service, watchdog });
      return { level: 'suspend', frozenMs: inTime(heldMs, started) };
    },
  };
}

/** The guest goes on for certain: nothing has to see to that any more. @returns how long it was held, in milliseconds */
async function released(
  started: number,
  undo: JournalEntry,
  {
    domain,
    service,
    watchdog,
  }: { readonly domain: Domain; readonly service: Watchdog; readonly watchdog: string },
): Promise<number> {
  const heldMs = Math.ceil(performance.now() - started);
  const gone = service.gone();
  await service.stop();
  // One that has let the guest go has left its mark; one whose connection was lost goes on there, and is about to.
  if (gone || service.gone()?.lost) await endWatchdog(domain, watchdog);
  await undo.done();
  return heldMs;
}

/** @throws FailedError when the watchdog has thawed or resumed the guest meanwhile */
function inTime(heldMs: number, started: number): number {
  if (heldMs < watchdogLimitMs) return heldMs;
  throw letGo(started);
}

/** The point in time may be one at which the guest was not held any more. */
function letGo(started: number, lost?: ConnectionError): FailedError | ConnectionError {
  const seconds = Math.ceil(performance.now() - started) / 1000;
  const what = `the watchdog thawed or resumed the guest before the point in time was fixed, after ${seconds} s or less`;
  if (lost) return new ConnectionError(`${what}: ${lost.message}`, lost);
  return new FailedError(`${what}: it took too long`);
}
