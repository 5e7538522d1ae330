// onevmdump cleanup: undoes what killed runs left.
import { describeRemains, findRemains, undoRemains, type Remains } from '../../lib/cleanup.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { sweepClaims } from '../../lib/run/claim.ts';
import { stateFolder } from '../../lib/run/state-folder.ts';
import { withConnections } from '../../lib/with-run.ts';
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

async function runCleanup(options: CleanupOptions, context: EntrypointContext): Promise<void> {
  const { log, signal } = context;
  const vmId = options.vm === undefined ? undefined : parseId(options.vm, 'the VM id');
  const config = await configFor(options, log);
  const folder = await stateFolder(config.stateDir, process.env);
  const runs: { readonly remains: Remains; readonly undone: boolean }[] = [];
  await withConnections('cleanup', { config, log }, async ({ handlers }) => {
    for (const remains of await findRemains(folder, vmId, log)) {
      signal.throwIfAborted();
      const undone = !options.dryRun && (await undoRemains(remains, handlers, log));
      runs.push({ remains, undone });
    }
  });
  if (!options.dryRun) await sweepClaims(folder, vmId);
  const lines = runs.flatMap(({ remains, undone }) => [
    `${inWords(remains)}: ${undone ? 'undone' : 'left'}`,
    ...(undone ? [] : describeRemains(remains).map((line) => `  ${line}`)),
  ]);
  await printResult(options, lines.length === 0 ? 'nothing is left' : lines.join('\n'), {
    runs: runs.map(({ remains: { header, pending }, undone }) => ({ ...header, pending, undone })),
  });
  if (!options.dryRun && runs.some(({ undone }) => !undone)) {
    throw new FailedError('not everything could be undone; see the warnings');
  }
}

function inWords({ header }: Remains): string {
  const { action, vmId, process, started } = header;
  const of = vmId === null ? '' : ` of VM ${vmId}`;
  return `${action}${of} (process ${process.pid}, started ${started})`;
}
