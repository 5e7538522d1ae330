// Everything an export or restore needs around it: journal, runner, OpenNebula client; and the undo
// of all that is left recorded when the work has ended, well or not.
import { findRemains, undoRemains } from './cleanup.ts';
import type { Config } from '../config/config.ts';
import { createOneClient, type OneClient } from '../one/client.ts';
import { findEndpoint, findSession } from '../one/credentials.ts';
import { isBackedUp } from '../one/vms.ts';
import { errorMessage } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import type { Progress } from '../report/progress.ts';
import { claimVm } from './export-lock.ts';
import { unlessFaulted } from '../run/fault.ts';
import { createJournal, type Journal } from '../run/journal.ts';
import { localRunner } from '../run/local-runner.ts';
import type { Run } from '../run/run.ts';
import type { Runner, SshTarget } from '../run/runner.ts';
import { SshConnections } from '../run/ssh-connections.ts';
import { stateFolder } from './state-folder.ts';
import type { UndoHandlers } from '../run/undo.ts';
import { undoHandlers } from './undo-handlers.ts';

export interface RunSetup {
  readonly config: Config;
  readonly action: 'export' | 'restore' | 'backup';
  readonly vmId: number | undefined;
  /** The host where the disks are; undefined is this machine. */
  readonly remote?: SshTarget | undefined;
  /** What `body` has recorded is left to a later process when it succeeds (`Journal.hold`). */
  readonly hold?: boolean;
  /** For asking whether OpenNebula is backing up the VM; undefined: it cannot be asked. */
  readonly one?: OneClient | undefined;
  readonly log: Log;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** How long an image may keep the undo waiting from now on (`OneUndoDeps.imageWaitMs`). */
  readonly imageWaitMs?: (() => number) | undefined;
}

/**
 * Does `body` inside a run. @returns what `body` returns, after everything temporary was undone.
 * @throws BusyError when it would export a VM that another process is exporting
 */
export async function withRun<T>(setup: RunSetup, body: (run: Run) => Promise<T>): Promise<T> {
  const { config, action, vmId, hold = false, signal } = setup;
  const warn = (text: string): void => setup.log.warn(text);
  const folder = await stateFolder(config.stateDir, process.env, warn);
  // A backup that is being written is in the hands of oned, which makes one of a VM at a time.
  if ((action !== 'export' && !hold) || vmId === undefined) return runIn(folder, setup, body);
  // Before the undo of earlier runs: it would undo what a run that has just begun has done to the VM.
  const claim = await claimVm(folder, vmId, signal);
  try {
    return await runIn(folder, setup, body);
  } finally {
    // Of a process that has ended it counts for nothing, so what was done is not a failure for it.
    await claim.release().catch((error: unknown) => {
      setup.log.warn(`cannot remove the export lock of VM ${vmId}: ${errorMessage(error)}`);
    });
  }
}

async function runIn<T>(
  folder: string,
  setup: RunSetup,
  body: (run: Run) => Promise<T>,
): Promise<T> {
  const { config, action, vmId, remote, hold = false, log, progress, signal } = setup;
  const journal = await createJournal({ stateFolder: folder, action, vmId, log });
  // What is held for another process outlives this one; its connections do not.
  const transient = lazyJournal(() =>
    createJournal({ stateFolder: folder, action, vmId: undefined, log }),
  );
  const connections = new SshConnections({
    log,
    ciphers: config.sshCiphers,
    record: (undo) => (hold ? transient : journal).record(undo),
  });
  const handlers = handlersFor(config, log, connections, setup.imageWaitMs);
  const runnerAt = (target: SshTarget | undefined): Runner =>
    target ? connections.runner(target, signal) : localRunner(log, signal);
  const run: Run = {
    runner: runnerAt(remote),
    runnerAt,
    journal,
    log,
    progress,
    signal,
    datastoreLocation: config.datastoreLocation,
    libvirtUri: config.libvirtUri,
    settings: config.valuesOf,
  };
  let held = false;
  try {
    // First of all, so that it is the last to be undone; and what cannot be reached is told at once.
    if (remote) await connections.open(remote);
    if (vmId !== undefined) await undoEarlierRuns(vmId, folder, handlers, setup);
    signal.throwIfAborted();
    const result = await unlessFaulted(body(run), signal);
    if (hold) {
      signal.throwIfAborted();
      await journal.hold();
      held = true;
    }
    return result;
  } finally {
    // No signal here: what was done is undone also when the run was interrupted.
    if (!held) await journal.undoAll(handlers);
    await transient.undoAll(handlers);
  }
}

/** A journal that is made when something is recorded in it, which for most never happens. */
function lazyJournal(create: () => Promise<Journal>): Pick<Journal, 'record' | 'undoAll'> {
  let opening: Promise<Journal> | undefined;
  return {
    record: async (undo, on) => {
      opening ??= create();
      return (await opening).record(undo, on);
    },
    async undoAll(handlers) {
      // That it could not be made is told to whoever recorded something.
      await (await opening?.catch(() => undefined))?.undoAll(handlers);
    },
  };
}

/** Connections, and the handlers that undo through them. */
export interface Connected {
  readonly connections: SshConnections;
  /** As a run's journal; the journal is made when something is recorded. */
  readonly record: Journal['record'];
  readonly handlers: UndoHandlers;
}

/**
 * Does `body` with connections to hosts that are no part of an export or restore. They have ended when this returns. The
 * journal for them, and for what `body` records, is made when it is needed.
 */
export async function withConnections<T>(
  action: 'cleanup' | 'extract' | 'read' | 'release',
  { config, log }: { readonly config: Config; readonly log: Log },
  body: (connected: Connected) => Promise<T>,
): Promise<T> {
  const journal = lazyJournal(async () => {
    const folder = await stateFolder(config.stateDir, process.env);
    return createJournal({ stateFolder: folder, action, vmId: undefined, log });
  });
  const connections = new SshConnections({
    log,
    ciphers: config.sshCiphers,
    record: (undo) => journal.record(undo),
  });
  const handlers = handlersFor(config, log, connections);
  try {
    return await body({ connections, handlers, record: journal.record });
  } finally {
    await journal.undoAll(handlers);
  }
}

/** Carries out undos in a process with this configuration. No signal stops them. */
function handlersFor(
  config: Config,
  log: Log,
  connections: SshConnections,
  imageWaitMs?: () => number,
): UndoHandlers {
  return undoHandlers({
    log,
    answerMs: answerMs(config),
    ...(imageWaitMs ? { imageWaitMs } : {}),
    connect: (endpoint) => connect({ config, endpoint, log }),
    runnerAt: (on) => (on ? connections.runner(on) : localRunner(log)),
  });
}

/**
 * What an earlier run on the VM left when it was killed would be in the way, such as a backup job; and so would what
 * OpenNebula's last backup has left, if its end was never told to us.
 */
async function undoEarlierRuns(
  vmId: number,
  folder: string,
  handlers: UndoHandlers,
  { hold = false, one, log }: RunSetup,
): Promise<void> {
  const { killed, held } = await findRemains(folder, vmId, log);
  for (const remains of killed) {
    const { action, process, started } = remains.header;
    log.warn(`undoing what an ${action} of VM ${vmId} left (process ${process.pid}, ${started})`);
    await undoRemains(remains, handlers, log);
  }
  for (const remains of held) {
    // A backup that begins is the only one of its VM.
    if (!hold && (!one || (await isBackedUp(one, vmId)))) continue;
    log.warn(
      `undoing what was fixed for a backup of VM ${vmId} at ${remains.header.started}, which OpenNebula did not end`,
    );
    await undoRemains(remains, handlers, log);
  }
}

/** A client for oned: endpoint as given, or as OpenNebula's own tools find it. */
export async function connect(options: {
  readonly config: Config;
  readonly endpoint: string | undefined;
  readonly log: Log;
  readonly signal?: AbortSignal;
}): Promise<OneClient> {
  const { config, endpoint, log, signal } = options;
  return createOneClient({
    endpoint: await findEndpoint(endpoint, process.env),
    session: await findSession(process.env),
    timeoutMs: answerMs(config),
    log,
    ...(signal ? { signal } : {}),
  });
}

/** How long oned may take for an answer. */
function answerMs({ xmlrpcTimeout }: Config): number {
  return xmlrpcTimeout * 1000;
}
