// Freezes or pauses a running guest while the point in time of its disks is fixed, then thaws or resumes it. Our
// freeze must never last: its undo is in the journal before the freeze, a watchdog thaws the guest if we are killed,
// and a thaw is repeated until libvirt confirms it. A freeze that somebody else made is never thawed, because another
// backup relies on it.
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
import { FreezeRefusedError, freezeFileSystems } from '../tools/fsfreeze.ts';
import { resumeDomain, suspendDomain, type Domain } from '../tools/virsh.ts';
import { watchdogName } from './names.ts';
import type { Vm } from '../vm/vm.ts';

/** How long a thaw is tried after a failed freeze, before the export continues. */
const thawAfterFailureMs = 6000;

export interface FreezeRequest {
  readonly mode: FreezeMode;
  /** Fail if the guest cannot be frozen or paused in this mode. */
  readonly required: boolean;
  /** How long to wait for the agent of a guest that is booting, in milliseconds; by default not at all. */
  readonly agentWaitMs?: number;
}

/** How a guest was frozen or paused. */
export interface FreezeResult {
  readonly level: Exclude<ConsistencyLevel, 'offline'>;
  /** Milliseconds for which it was frozen or paused; 0 if it was neither. */
  readonly frozenMs: number;
}

/** A guest that is frozen or paused, or that could not be. */
export interface FrozenGuest {
  /** The level that is expected. `thaw` returns the level that was reached. */
  readonly level: FreezeResult['level'];
  /**
   * Thaws or resumes the guest.
   * @returns `crash` if the freeze ended before the thaw: by itself, or because somebody else thawed the guest.
   * @throws FailedError when the freeze ended early and it is required, or when our watchdog thawed or resumed the
   *   guest.
   */
  thaw(): Promise<FreezeResult>;
}

/** Why a guest is not frozen. If it still freezes late, the watchdog or the journal's undo thaws it. */
interface Unfrozen {
  readonly refusal: string;
}

/**
 * Freezes or pauses the guest of a running VM as requested. An agent that hangs is given up within a minute, because
 * OpenNebula's locks are held meanwhile. A guest is paused only in the mode `suspend`, because OpenNebula's
 * monitoring treats a paused guest as SUSPENDED.
 * @throws FailedError when it cannot be frozen or paused and this is required, or when it is to be frozen and another
 *   tool has frozen it; nothing was changed then.
 */
export async function freezeGuest(
  vm: Vm,
  { mode, required }: FreezeRequest,
  run: Run,
): Promise<FrozenGuest> {
  const domain = domainOf(vm, run);
  const state = await requireRunning(vm, domain);
  // A guest that somebody else has paused writes nothing, and it is not for us to resume it.
  if (state === 'paused' && mode !== 'agent') {
    return notFrozen('suspend');
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
    const guest = await freeze(vm, domain, run, (why) =>
      unfrozen(`the file systems of VM ${vm.id} did not stay frozen: ${why}`),
    );
    if (!('refusal' in guest)) return guest;
    unfrozen(`the file systems of VM ${vm.id} cannot be frozen: ${guest.refusal}`);
  }
  return notFrozen('crash');
}

function notFrozen(level: FreezeResult['level']): FrozenGuest {
  return { level, thaw: () => Promise.resolve({ level, frozenMs: 0 }) };
}

/**
 * @param onEnded is called with the reason if the freeze ended before the thaw.
 * @throws ConnectionError: then it is unknown whether the guest can be frozen. FailedError when another tool has frozen
 *   the guest.
 */
async function freeze(
  vm: Vm,
  domain: Domain,
  run: Run,
  onEnded: (why: string) => void,
): Promise<FrozenGuest | Unfrozen> {
  const { journal, signal, log } = run;
  // Asked first, for two reasons. A hung agent that is told to freeze does so when it comes back. And file systems
  // that are already frozen were frozen by somebody else.
  const refusal = await reachAgent(vm, domain);
  signal.throwIfAborted();
  if (refusal !== undefined) return { refusal };

  const watchdog = watchdogName(journal.runId);
  const { uri, name } = domain;
  const undo = await journal.record(
    thawGuest.undo({ uri, domain: name, guard: watchdog }),
    run.runner.target,
  );
  const service = await startWatchdog(domain, 'thaw', watchdog);
  const started = performance.now();
  const thawed = async (): Promise<number> =>
    inTime(await markThawed(started, undo, { domain, service, watchdog }), started);
  const thaw = async (): Promise<FreezeResult> => {
    const gone = service.gone();
    const ended = await thawUntilConfirmed(domain);
    if (gone) throw thawedByWatchdog(started, gone.lost);
    const frozenMs = await thawed();
    if (ended === undefined) return { level: 'agent', frozenMs };
    onEnded(ended);
    return { level: 'crash', frozenMs: 0 };
  };
  let why: string;
  let lost: ConnectionError | undefined;
  try {
    if ((await freezeFileSystems(domain)) > 0) return { level: 'agent', thaw };
    why = 'the agent found none to freeze';
  } catch (error) {
    signal.throwIfAborted();
    why = errorMessage(error);
    if (error instanceof FreezeRefusedError) {
      await thawed();
      // Either another tool was faster, or the agent's configuration forbids to freeze.
      await reachAgent(vm, domain);
      signal.throwIfAborted();
      return { refusal: why };
    }
    if (error instanceof ConnectionError) lost = error;
  }
  try {
    await thawUntilConfirmed(domain, thawAfterFailureMs);
    await thawed();
  } catch (error) {
    signal.throwIfAborted();
    // The watchdog keeps trying to thaw the guest, and the undo at the end of the run tries again.
    log.warn(
      `${domain.name} may freeze when its agent comes back; its thaw is kept trying (${errorMessage(error)})`,
    );
  }
  if (lost) throw lost;
  return { refusal: why };
}

async function suspend(domain: Domain, run: Run): Promise<FrozenGuest> {
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
    thaw: async () => {
      const gone = service.gone();
      if (gone) throw thawedByWatchdog(started, gone.lost);
      await resumeDomain(domain);
      const frozenMs = inTime(
        await markThawed(started, undo, { domain, service, watchdog }),
        started,
      );
      return { level: 'suspend', frozenMs };
    },
  };
}

/**
 * Ends the watchdog and marks the undo as done. Called when the guest is certainly thawed or resumed.
 * @returns how long it was frozen or paused, in milliseconds
 */
async function markThawed(
  started: number,
  undo: JournalEntry,
  {
    domain,
    service,
    watchdog,
  }: { readonly domain: Domain; readonly service: Watchdog; readonly watchdog: string },
): Promise<number> {
  const frozenMs = Math.ceil(performance.now() - started);
  const gone = service.gone();
  await service.stop();
  // A watchdog that has thawed or resumed the guest has left its file. One to which the connection was lost still
  // runs on the host, and will thaw or resume the guest soon.
  if (gone || service.gone()?.lost) await endWatchdog(domain, watchdog);
  await undo.done();
  return frozenMs;
}

/** @throws FailedError when the watchdog has thawed or resumed the guest meanwhile */
function inTime(frozenMs: number, started: number): number {
  if (frozenMs < watchdogLimitMs) return frozenMs;
  throw thawedByWatchdog(started);
}

/** The error for a point in time that may have been fixed after the guest was thawed or resumed. */
function thawedByWatchdog(started: number, lost?: ConnectionError): FailedError | ConnectionError {
  const seconds = Math.ceil(performance.now() - started) / 1000;
  const what = `the watchdog thawed or resumed the guest before the point in time was fixed, after ${seconds} s or less`;
  if (lost) return new ConnectionError(`${what}: ${lost.message}`, lost);
  return new FailedError(`${what}: it took too long`);
}
