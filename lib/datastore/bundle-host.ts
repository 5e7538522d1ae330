// Runs commands where the bundles of a backup datastore lie, for actions that are no export or restore.
import { localRunner } from '../run/local-runner.ts';
import type { Runner } from '../run/runner.ts';
import type { ActionContext } from './action.ts';
import type { BackupDatastore } from './backup-datastore.ts';

/**
 * Does `body` with a runner on that machine. A connection has ended when this returns.
 * @throws what `body` throws
 */
export async function atBundles<T>(
  { host }: BackupDatastore,
  { config: load, log, signal }: ActionContext,
  body: (runner: Runner) => Promise<T>,
): Promise<T> {
  if (!host) return await body(localRunner(log, signal));
  // Most of the program, which an action on this machine needs nothing of.
  const { withConnections } = await import('../session/with-run.ts');
  const config = await load();
  return await withConnections('read', { config, log }, ({ connections }) =>
    body(connections.runner(host, signal)),
  );
}
