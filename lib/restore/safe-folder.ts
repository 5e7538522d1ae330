// Checks whether an image datastore accepts files from a folder. OpenNebula copies only from paths in SAFE_DIRS, or
// outside all RESTRICTED_DIRS (datastore/libfs.sh, is_restricted). It registers an image from any other path and fails
// later, so the check is made before any data moves.
import type { Datastore } from '../one/datastores.ts';
import { UsageError } from '../report/errors.ts';

/** @throws UsageError when `datastore` would refuse files in `folder` */
export function requireSafeFolder(datastore: Datastore, folder: string): void {
  const isUnder = (parent: string): boolean =>
    folder === parent || folder.startsWith(parent.endsWith('/') ? parent : `${parent}/`);
  if (datastore.safeDirs.some(isUnder)) return;
  if (!datastore.restrictedDirs.some(isUnder)) return;
  throw new UsageError(
    `datastore ${datastore.id} (${datastore.name}) does not accept files from ${folder}; choose a folder in its SAFE_DIRS (${datastore.safeDirs.join(' ') || 'none'}) with --staging-dir`,
  );
}
