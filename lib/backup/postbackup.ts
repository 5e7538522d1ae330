// `postbackup` and `postbackup_live`: release what `prebackup` made. oned also runs them after a failure, possibly twice.
import { dirname, join } from 'node:path';
import { findRemains, undoRemains } from '../session/cleanup.ts';
import { parseBackupArguments } from './backup-request.ts';
import { disksHost } from './disks-host.ts';
import { lockWhileLeft } from './lock-while-left.ts';
import { stagingFolder } from './staged-disks.ts';
import { backupBasePath } from '../config/datastore-conf.ts';
import { errorMessage, OnevmdumpError } from '../report/errors.ts';
import { sweepClaims } from '../session/export-lock.ts';
import { localRunner } from '../run/local-runner.ts';
import { stateFolder } from '../session/state-folder.ts';
import { realPaths } from '../tools/file-facts.ts';
import { withConnections } from '../session/with-run.ts';
import type { IsOurs, Outcome, TmContext } from './tm-action.ts';

/**
 * Releases the disks. The bundle is complete, and oned would drop it if this failed. So what cannot be released is only a
 * warning: it stays in its journal for `onevmdump cleanup`, and the VM is locked until then if it is on its storage.
 * @throws an OnevmdumpError when the arguments or the configuration are not valid
 */
export async function postbackup(context: TmContext, isOurs: IsOurs): Promise<Outcome> {
  const ours = await isOurs();
  if (ours === false) return 'stock';
  try {
    if (await release(context)) return 'done';
    // There is nothing to release: our prebackup failed or was killed, or this is the second postbackup, or the stock
    // prebackup ran because oned did not answer ours.
    return ours === undefined || (await isStaged(context)) ? 'stock' : 'done';
  } catch (error) {
    if (ours || !(error instanceof OnevmdumpError)) throw error;
    context.log.warn(errorMessage(error));
    return 'stock';
  }
}

/** @returns whether our prebackup had fixed anything */
async function release({ args, config: load, log }: TmContext): Promise<boolean> {
  const { vmId } = parseBackupArguments(args);
  const config = await load();
  const folder = await stateFolder(config.stateDir, process.env, (text) => log.warn(text));
  const { killed: all, held } = await findRemains(folder, vmId, log);
  const killed = all.filter(({ header }) => header.action === 'backup');
  await withConnections('release', { config, log }, async ({ handlers }) => {
    for (const remains of [...killed, ...held]) {
      if (await undoRemains(remains, handlers, log)) continue;
      await lockWhileLeft(remains.path, vmId, { config, log });
    }
  });
  // A prebackup that was killed may have left a claim of the export lock.
  await sweepClaims(folder, vmId);
  return held.length > 0;
}

/** Whether the stock `prebackup` has left its files. */
async function isStaged({ args, config: load, script, log }: TmContext): Promise<boolean> {
  const known = parseBackupArguments(args);
  const { remote, config } = await disksHost(known, await load());
  // remotes/tm/<tm>/postbackup
  const base = await backupBasePath(join(dirname(script), '../..'));
  const path = join(stagingFolder(known.folder, known.vmId, base), 'vm.xml');
  return await withConnections('release', { config, log }, async ({ connections }) => {
    const runner = remote ? connections.runner(remote) : localRunner(log);
    return (await realPaths(runner, [path])).length > 0;
  });
}
