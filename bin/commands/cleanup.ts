// onevmdump cleanup: undoes what killed runs left.
import {
  describeRemains,
  findJournals,
  inWords,
  undoRemains,
  whyAlone,
  type Remains,
} from '../../lib/session/cleanup.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import type { Config } from '../../lib/config/config.ts';
import { isBackedUp } from '../../lib/one/vms.ts';
import { FailedError, OpenNebulaError, UsageError } from '../../lib/report/errors.ts';
import { sweepClaims, type ElsewhereClaim } from '../../lib/session/export-lock.ts';
import { handlersForGone } from '../../lib/session/gone-machine.ts';
import {
  isPlaceIn,
  placeName,
  seenFromAbove,
  type ProcessIdentity,
} from '../../lib/run/process-identity.ts';
import { stateFolder, userStateFolder } from '../../lib/session/state-folder.ts';
import { connect, withConnections } from '../../lib/session/with-run.ts';
import { configFor, parseId, printResult, type CliCommand } from './command.ts';
import { cleanupDescription, type CleanupOptions } from './cleanup-options.ts';

export const cleanupCommand: CliCommand<CleanupOptions> = {
  description: cleanupDescription,
  run: runCleanup,
};

/** The remains of a run, and what cleanup did with them. */
interface Found {
  readonly remains: Remains;
  readonly end: 'undone' | 'left' | 'kept' | 'elsewhere';
}

async function runCleanup(options: CleanupOptions, context: EntrypointContext): Promise<void> {
  const { log, signal } = context;
  const vmId = options.vm === undefined ? undefined : parseId(options.vm, 'the VM id');
  const config = await configFor(options, log);
  const folder = await stateFolder(config.stateDir, process.env, (text) => log.warn(text));
  // Runs record in the user's own folder when the default one cannot be written.
  const folders = [...new Set([folder, userStateFolder(process.env)])];
  const runs: Found[] = [];
  const found = await Promise.all(folders.map((one) => findJournals(one, vmId, log)));
  const killed = found.flatMap((one) => one.killed);
  const held = found.flatMap((one) => one.held);
  const elsewhere = found.flatMap((one) => one.elsewhere);
  const isGone = ({ header }: Remains): boolean =>
    options.gone !== undefined && isPlaceIn(header.process, options.gone);
  // Checked before anything is undone, so that a refusal changes nothing.
  for (const { header } of elsewhere.filter(isGone)) await requireGone(header.process);
  await withConnections('cleanup', { config, log }, async ({ handlers }) => {
    const undo = async (remains: Remains, by = handlers): Promise<Found['end']> => {
      signal.throwIfAborted();
      if (options.dryRun) return 'left';
      return (await undoRemains(remains, by, log)) ? 'undone' : 'left';
    };
    for (const remains of killed) runs.push({ remains, end: await undo(remains) });
    for (const remains of held) {
      const inUse = await isInUse(remains, config, context);
      const end = inUse === undefined ? 'left' : inUse ? 'kept' : await undo(remains);
      runs.push({ remains, end });
    }
    for (const remains of elsewhere) {
      const end = isGone(remains)
        ? await undo(remains, await handlersForGone(handlers, remains.header, log))
        : 'elsewhere';
      runs.push({ remains, end });
    }
  });
  const swept: ElsewhereClaim[] = [];
  for (const one of options.dryRun ? [] : folders) {
    swept.push(...(await sweepClaims(one, vmId, options.gone)));
  }
  // Most locks belong to exports that are listed already.
  const claims = swept.filter((claim) => !elsewhere.some((one) => isOf(claim, one)));
  const lines = [...runs.flatMap(describeRun), ...claims.map(describeClaim)];
  const left = !options.dryRun && runs.some(({ end }) => end === 'left');
  const failure = left
    ? new FailedError('not everything could be undone; see the warnings', { code: 'not-undone' })
    : undefined;
  const report = {
    runs: runs.map(({ remains: { header, pending }, end }) => ({
      ...header,
      pending,
      undone: end === 'undone',
      ...(end === 'kept' ? { inUse: true } : {}),
      ...(end === 'elsewhere' ? { elsewhere: placeName(header.process) } : {}),
    })),
    exportLocks: claims.map(({ vmId: lockedVm, process }) => ({
      vmId: lockedVm,
      process,
      elsewhere: placeName(process),
    })),
  };
  await printResult(options, lines.join('\n') || 'nothing is left', report, failure);
  if (failure) throw failure;
}

/**
 * Whether OpenNebula is still making the backup to which the remains belong. Only OpenNebula knows: if it cannot be
 * asked, there is a warning, and the result is undefined.
 */
async function isInUse(
  { header: { vmId } }: Remains,
  config: Config,
  { log, signal }: EntrypointContext,
): Promise<boolean | undefined> {
  if (vmId === null) return false;
  try {
    const one = await connect({ config, endpoint: undefined, log, signal });
    return await isBackedUp(one, vmId);
  } catch (error) {
    if (!(error instanceof OpenNebulaError) && !(error instanceof UsageError)) throw error;
    log.warn(
      `what was made for a backup of VM ${vmId} is kept, because it is not known whether OpenNebula still needs it: ${error.message}`,
    );
    return undefined;
  }
}

/** @throws UsageError if a process of the container that is said to be gone still runs on this machine */
async function requireGone(process: ProcessIdentity): Promise<void> {
  const pid = await seenFromAbove(process);
  if (pid === undefined) return;
  throw new UsageError(`${placeName(process)} is not gone: its process still runs here, as ${pid}`);
}

function describeRun({ remains, end }: Found): readonly string[] {
  const words = {
    undone: 'undone',
    left: 'left',
    kept: 'kept, because OpenNebula needs it for a backup',
    elsewhere: `left alone, ${whyAlone(remains)}`,
  };
  const left = end === 'left' ? describeRemains(remains).map((line) => `  ${line}`) : [];
  return [`${inWords(remains)}: ${words[end]}`, ...left];
}

function isOf({ vmId, process }: ElsewhereClaim, { header }: Remains): boolean {
  const { pid, startTime } = header.process;
  return header.vmId === vmId && process.pid === pid && process.startTime === startTime;
}

function describeClaim({ vmId, process }: ElsewhereClaim): string {
  const place = placeName(process);
  return `export lock of VM ${vmId} (process ${process.pid}): left alone, it belongs to ${place}; if that machine or container is gone for good: onevmdump cleanup --gone ${place}`;
}
