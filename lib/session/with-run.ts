// Sets up what an export or restore needs: journal, runner and OpenNebula client. When the work has ended, successfully
// or not, everything that is still recorded in the journal is undone.
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
  /** If `body` succeeds, what it has recorded is left to a later process (`Journal.hold`). */
  readonly hold?: boolean;
  /** Used to ask whether OpenNebula is backing up the VM; undefined if OpenNebula cannot be asked. */
  readonly one?: OneClient | undefined;
  readonly log: Log;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** How long the undo may wait for an image from now on (`OneUndoDeps.imageWaitMs`). */
  readonly imageWaitMs?: (() => number) | undefined;
}

/**
 * Calls `body` with a run. @returns what `body` returns, after everything temporary has been undone.
 * @throws BusyError when the run is an export of a VM that another process is exporting
 */
export async function withRun<T>(setup: RunSetup, body: (run: Run) => Promise<T>): Promise<T> {
  const { config, action, vmId, hold = false, signal } = setup;
  const warn = (text: string): void => setup.log.warn(text);
  const folder = await stateFolder(config.stateDir, process.env, warn);
  // Writing a backup needs no export lock: oned makes only one backup of a VM at a time.
  if ((action !== 'export' && !hold) || vmId === undefined) return runIn(folder, setup, body);
  // The lock comes before the undo of earlier runs, which could otherwise undo the changes of a run that has just begun.
  const claim = await claimVm(folder, vmId, signal);
  try {
    return await runIn(folder, setup, body);
  } finally {
    // The lock of a process that has ended is ignored. So the run has not failed if the lock cannot be removed.
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
  // What is left to another process outlives this process; the connections of this process do not.
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
    // Connects first, so that the connection is undone last, and a host that cannot be reached is reported at once.
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
    // The signal does not stop the undo: changes are also undone after the run was interrupted.
    if (!held) await journal.undoAll(handlers);
    await transient.undoAll(handlers);
  }
}

/** A journal that is only created when something is recorded in it. In most cases, nothing is. */
function lazyJournal(create: () => Promise<Journal>): Pick<Journal, 'record' | 'undoAll'> {
  let opening: Promise<Journal> | undefined;
  return {
    record: async (undo, on) => {
      opening ??= create();
      return (await opening).record(undo, on);
    },
    async undoAll(handlers) {
      // If the journal could not be created, `record` has reported it.
      await (await opening?.catch(() => undefined))?.undoAll(handlers);
    },
  };
}

/** Connections, and the handlers that undo through them. */
export interface Connected {
  readonly connections: SshConnections;
  /** As in the journal of a run; the journal is created when something is recorded. */
  readonly record: Journal['record'];
  readonly handlers: UndoHandlers;
}

/**
 * Calls `body` with connections to hosts, outside of any export or restore. The connections have ended when this
 * returns. The journal for them, and for what `body` records, is created when it is needed.
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

/** Returns handlers that carry out undos with this configuration. No signal stops them. */
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
 * Undoes what earlier runs on the VM left when they were killed, because it would be in the way: a backup job, for
 * example. Also undoes what OpenNebula's last backup left, if OpenNebula never ran the action that ends it.
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
    // A backup that begins now (`hold`) is the only backup of its VM, so the earlier one has ended.
    if (!hold && (!one || (await isBackedUp(one, vmId)))) continue;
    log.warn(
      `undoing what was fixed for a backup of VM ${vmId} at ${remains.header.started}, which OpenNebula did not end`,
    );
    await undoRemains(remains, handlers, log);
  }
}

/** Creates a client for oned. Without `endpoint`, the endpoint is found in the same way as by OpenNebula's own tools. */
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
