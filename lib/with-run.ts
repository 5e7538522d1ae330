// Everything an export or restore needs around it: journal, runner, OpenNebula client; and the undo
// of all that is left recorded when the work has ended, well or not.
import { findRemains, undoRemains } from './cleanup.ts';
import type { Config } from './input/config.ts';
import { createOneClient, type OneClient } from './one/client.ts';
import { findEndpoint, findSession } from './one/credentials.ts';
import type { Log } from './report/log.ts';
import type { Progress } from './report/progress.ts';
import { claimVm } from './run/claim.ts';
import { createJournal, type Journal } from './run/journal.ts';
import { localRunner } from './run/local-runner.ts';
import type { Run } from './run/run.ts';
import type { Runner, SshTarget } from './run/runner.ts';
import { sshConnections, type SshConnections } from './run/ssh-connections.ts';
import { stateFolder } from './run/state-folder.ts';
import type { UndoHandlers } from './run/undo.ts';
import { undoHandlers } from './undo-handlers.ts';

export interface RunSetup {
  readonly config: Config;
  readonly action: 'export' | 'restore' | 'backup';
  readonly vmId: number | undefined;
  /** The host where the disks are; undefined is this machine. */
  readonly remote?: SshTarget | undefined;
  readonly log: Log;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/**
 * Does `body` inside a run. @returns what `body` returns, after everything temporary was undone.
 * @throws BusyError when it would export a VM that another process is exporting
 */
export async function withRun<T>(setup: RunSetup, body: (run: Run) => Promise<T>): Promise<T> {
  const { config, action, vmId, signal } = setup;
  const folder = await stateFolder(config.stateDir, process.env);
  if (action !== 'export' || vmId === undefined) return runIn(folder, setup, body);
  // Before the undo of earlier runs: it would let go the VM of a run that has just begun.
  const claim = await claimVm(folder, vmId, signal);
  try {
    return await runIn(folder, setup, body);
  } finally {
    await claim.release();
  }
}

async function runIn<T>(
  folder: string,
  { config, action, vmId, remote, log, progress, signal }: RunSetup,
  body: (run: Run) => Promise<T>,
): Promise<T> {
  const journal = await createJournal({ stateFolder: folder, action, vmId, log });
  const connections = sshConnections({
    log,
    ciphers: config.sshCiphers,
    record: (undo) => journal.record(undo),
  });
  const handlers = handlersFor(config, log, connections);
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
    allowedBackingFolders: config.allowedBackingDirs,
    libvirtUri: config.libvirtUri,
    lvmSnapshot: { percent: config.lvmSnapshotPercent, minMb: config.lvmSnapshotMinMb },
  };
  try {
    // First of all, so that it is the last to be undone; and what cannot be reached is told at once.
    if (remote) await connections.open(remote);
    if (vmId !== undefined) await undoEarlierRuns(vmId, folder, handlers, log);
    signal.throwIfAborted();
    return await body(run);
  } finally {
    // No signal here: what was done is undone also when the run was interrupted.
    await journal.undoAll(handlers);
  }
}

/** Connections, and the handlers that undo through them. */
export interface Connected {
  readonly connections: SshConnections;
  readonly handlers: UndoHandlers;
}

/**
 * Does `body` with connections to hosts that are no part of an export or restore. They get a journal of
 * their own when the first is made, and have ended when this returns.
 */
export async function withConnections<T>(
  action: 'cleanup' | 'read',
  { config, log }: { readonly config: Config; readonly log: Log },
  body: (connected: Connected) => Promise<T>,
): Promise<T> {
  const stateDir = await stateFolder(config.stateDir, process.env);
  let opening: Promise<Journal> | undefined;
  const connections = sshConnections({
    log,
    ciphers: config.sshCiphers,
    async record(undo) {
      opening ??= createJournal({ stateFolder: stateDir, action, vmId: undefined, log });
      await (await opening).record(undo);
    },
  });
  const handlers = handlersFor(config, log, connections);
  try {
    return await body({ connections, handlers });
  } finally {
    await (await opening)?.undoAll(handlers);
  }
}

/** Carries out undos in a process with this configuration. No signal stops them. */
function handlersFor(config: Config, log: Log, connections: SshConnections): UndoHandlers {
  return undoHandlers({
    connect: (endpoint) => connect({ config, endpoint, log }),
    runnerAt: (on) => (on ? connections.runner(on) : localRunner(log)),
  });
}

/** What an earlier run on the VM left when it was killed would be in the way, such as a backup job. */
async function undoEarlierRuns(
  vmId: number,
  folder: string,
  handlers: UndoHandlers,
  log: Log,
): Promise<void> {
  for (const remains of await findRemains(folder, vmId, log)) {
    const { action, process, started } = remains.header;
    log.warn(`undoing what an ${action} of VM ${vmId} left (process ${process.pid}, ${started})`);
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
    timeoutMs: config.xmlrpcTimeout * 1000,
    log,
    ...(signal ? { signal } : {}),
  });
}
