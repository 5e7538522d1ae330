// onevmdump cleanup: undoes what killed runs left.
import {
  describeRemains,
  findHeld,
  findRemains,
  undoRemains,
  type Remains,
} from '../../lib/cleanup.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import type { Config } from '../../lib/input/config.ts';
import { isBackedUp } from '../../lib/one/vms.ts';
import { FailedError, OpenNebulaError, UsageError } from '../../lib/report/errors.ts';
import { sweepClaims } from '../../lib/run/claim.ts';
import { stateFolder } from '../../lib/run/state-folder.ts';
import { connect, withConnections } from '../../lib/with-run.ts';
import {
  configFor,
  parseId,
  printResult,
  type CommandDefinition,
  type GlobalOptions,
} from './command.ts';

interface CleanupOptions extends GlobalOptions {
  readonly vm: string | undefined;
  readonly dryRun: boolean;
}

export const cleanupCommand: CommandDefinition<CleanupOptions> = {
  words: 'cleanup',
  describe: 'Undo what exports and restores left that were killed',
  options: (argv) =>
    argv
      .usage('$0 cleanup [options]')
      .options({
        vm: { type: 'string', requiresArg: true, describe: 'Only what runs on this VM left' },
        'dry-run': { type: 'boolean', default: false, describe: 'Only say what is left' },
      })
      .example('$0 cleanup --dry-run', 'say what is left, and how it would be removed by hand'),
  run: runCleanup,
};

/** What was found, and what has become of it. */
interface Found {
  readonly remains: Remains;
  readonly end: 'undone' | 'left' | 'kept';
}

async function runCleanup(options: CleanupOptions, context: EntrypointContext): Promise<void> {
  const { log, signal } = context;
  const vmId = options.vm === undefined ? undefined : parseId(options.vm, 'the VM id');
  const config = await configFor(options, log);
  const folder = await stateFolder(config.stateDir, process.env);
  const runs: Found[] = [];
  await withConnections('cleanup', { config, log }, async ({ handlers }) => {
    const undo = async (remains: Remains): Promise<Found['end']> => {
      signal.throwIfAborted();
      if (options.dryRun) return 'left';
      return (await undoRemains(remains, handlers, log)) ? 'undone' : 'left';
    };
    for (const remains of await findRemains(folder, vmId, log)) {
      runs.push({ remains, end: await undo(remains) });
    }
    for (const remains of await findHeld(folder, vmId, log)) {
      const inUse = await isInUse(remains, config, context);
      const end = inUse === undefined ? 'left' : inUse ? 'kept' : await undo(remains);
      runs.push({ remains, end });
    }
  });
  if (!options.dryRun) await sweepClaims(folder, vmId);
  const lines = runs.flatMap(({ remains, end }) => [
    `${inWords(remains)}: ${end === 'kept' ? 'kept, OpenNebula needs it for its backup' : end}`,
    ...(end === 'left' ? describeRemains(remains).map((line) => `  ${line}`) : []),
  ]);
  await printResult(options, lines.length === 0 ? 'nothing is left' : lines.join('\n'), {
    runs: runs.map(({ remains: { header, pending }, end }) => ({
      ...header,
      pending,
      undone: end === 'undone',
      ...(end === 'kept' ? { inUse: true } : {}),
    })),
  });
  if (!options.dryRun && runs.some(({ end }) => end === 'left')) {
    throw new FailedError('not everything could be undone; see the warnings');
  }
}

/**
 * Whether OpenNebula is still making the backup for which something was fixed; undefined, with a warning, when
 * it cannot be asked: nobody else knows.
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
      `what was fixed for a backup of VM ${vmId} is left alone, since it is not known whether OpenNebula still needs it: ${error.message}`,
    );
    return undefined;
  }
}

function inWords({ header }: Remains): string {
  const { action, vmId, process, started } = header;
  const of = vmId === null ? '' : ` of VM ${vmId}`;
  return `${action}${of} (process ${process.pid}, started ${started})`;
}
