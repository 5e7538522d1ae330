// Whether an image datastore takes files from a folder. OpenNebula copies only from paths that lie in
// SAFE_DIRS, or in no RESTRICTED_DIRS (datastore/libfs.sh, is_restricted); an image from elsewhere is
// registered and then fails, so it is better said before any data moves.
import type { Datastore } from '../one/datastores.ts';
import { UsageError } from '../report/errors.ts';

/** @throws UsageError when `datastore` would refuse files under `folder`. */
export function requireSafeFolder(datastore: Datastore, folder: string): void {
  const isUnder = (parent: string): boolean =>
    folder === parent || folder.startsWith(parent.endsWith('/') ? parent : `${parent}/`);
  if (datastore.safeDirs.some(isUnder)) return;
  if (!datastore.restrictedDirs.some(isUnder)) return;
  throw new UsageError(
    `datastore ${datastore.id} (${datastore.name}) takes no files from ${folder}; choose a folder in its SAFE_DIRS (${datastore.safeDirs.join(' ') || 'none'}) with --staging-dir`,
  );
}
