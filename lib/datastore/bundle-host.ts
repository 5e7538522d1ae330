// Runs commands on the machine with the bundles of a backup datastore, for all actions but backup and restore.
import { localRunner } from '../run/local-runner.ts';
import type { Runner } from '../run/runner.ts';
import type { ActionContext } from './action.ts';
import type { BackupDatastore } from './backup-datastore.ts';

/**
 * Calls `body` with a runner of that machine, and closes the connection afterwards.
 * @throws what `body` throws
 */
export async function onBundleHost<T>(
  { host }: BackupDatastore,
  { config: load, log, signal }: ActionContext,
  body: (runner: Runner) => Promise<T>,
): Promise<T> {
  if (!host) return await body(localRunner(log, signal));
  // Loaded late, because it is most of the program, and an action on this machine does not need it.
  const { withConnections } = await import('../session/with-run.ts');
  const config = await load();
  return await withConnections('read', { config, log }, ({ connections }) =>
    body(connections.runner(host, signal)),
  );
}
