// Freezes or pauses a running guest while the point in time of its disks is fixed, and thaws or resumes it.
// Our freeze must never last: its undo is in the journal before the freeze, a watchdog process thaws the
// guest when we are killed, and a thaw is done when libvirt has confirmed it. A freeze that somebody else
// made is never thawed: another backup relies on it.
import type { ConsistencyLevel } from '../bundle/format/manifest.ts';
import type { FreezeMode } from '../config/freeze-mode.ts';
import { ConnectionError, errorMessage, FailedError } from '../report/errors.ts';
import type { JournalEntry } from '../run/journal.ts';
import type { Run } from '../run/run.ts';
import { endGuard, guardLimitMs, startGuard, thawUntilConfirmed, type Guard } from './watchdog.ts';
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
import { guardName } from './names.ts';
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
    if (typeof held !== 'string') return held;
    unfrozen(`the file systems of VM ${vm.id} cannot be frozen: ${held}`);
  }
  return notHeld('crash');
}

function notHeld(level: Held['level']): Hold {
  return { level, release: () => Promise.resolve({ level, frozenMs: 0 }) };
}

/**
 * @param onEnded is told why, when the guest has ended its freeze by itself.
 * @returns why not, when the guest cannot be frozen; it is not frozen then, or will be thawed.
 * @throws ConnectionError: nobody knows then what the guest can do.
 */
async function freeze(
  domain: Domain,
  run: Run,
  onEnded: (why: string) => void,
): Promise<Hold | string> {
  const { journal, signal, log } = run;
  // Asked first: what a hung agent is told to freeze, it freezes when it comes back; and what is frozen
  // already, somebody else has frozen.
  const refusal = await reachAgent(domain);
  signal.throwIfAborted();
  if (refusal !== undefined) return refusal;

  const guard = guardName(journal.runId);
  const { uri, name } = domain;
  const undo = await journal.record(
    thawGuest.undo({ uri, domain: name, guard }),
    run.runner.target,
  );
  try {
    await setAgentTimeout(domain, freezeSeconds);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ConnectionError) throw error;
    // Nothing is frozen yet. libvirt before 5.10 has no such command, and would wait for a hung agent for ever.
    await undo.done();
    return errorMessage(error);
  }
  const service = await startGuard(domain, 'domfsthaw', guard);
  const started = performance.now();
  const thawed = async (): Promise<number> => {
    const heldMs = await released(started, undo, { domain, service, guard });
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
      return why;
    }
    if (error instanceof ConnectionError) lost = error;
  }
  try {
    await thawUntilConfirmed(domain, thawAfterFailureMs);
    await thawed();
  } catch (error) {
    signal.throwIfAborted();
    // The guard goes on, and so does the undo at the end of the run.
    log.warn(
      `${domain.name} may freeze when its agent comes back; its thaw is kept trying (${errorMessage(error)})`,
    );
  }
  if (lost) throw lost;
  return why;
}

async function suspend(domain: Domain, run: Run): Promise<Hold> {
  const guard = guardName(run.journal.runId);
  const { uri, name } = domain;
  const undo = await run.journal.record(
    resumeGuest.undo({ uri, domain: name, guard }),
    run.runner.target,
  );
  const service = await startGuard(domain, 'resume', guard);
  const started = performance.now();
  await suspendDomain(domain);
  return {
    level: 'suspend',
    release: async () => {
      const gone = service.gone();
      if (gone) throw letGo(started, gone.lost);
      await resumeDomain(domain);
      const heldMs = await released(started, undo, { domain, service, guard });
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
    guard,
  }: { readonly domain: Domain; readonly service: Guard; readonly guard: string },
): Promise<number> {
  const heldMs = Math.ceil(performance.now() - started);
  const gone = service.gone();
  await service.stop();
  // One that has let the guest go has left its mark; one whose connection was lost goes on there, and is about to.
  if (gone || service.gone()?.lost) await endGuard(domain, guard);
  await undo.done();
  return heldMs;
}

/** @throws FailedError when the guard has let the guest go meanwhile */
function inTime(heldMs: number, started: number): number {
  if (heldMs < guardLimitMs) return heldMs;
  throw letGo(started);
}

/** The point in time may be one at which the guest was not held any more. */
function letGo(started: number, lost?: ConnectionError): FailedError | ConnectionError {
  const seconds = Math.ceil(performance.now() - started) / 1000;
  const what = `the guest was let go by its guard before all was done, after ${seconds} s or less`;
  if (lost) return new ConnectionError(`${what}: ${lost.message}`, lost);
  return new FailedError(`${what}: it took too long`);
}
