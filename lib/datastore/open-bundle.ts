// Opens a bundle of a backup datastore for reading.
import { openFileSource } from '../bundle/location/file-source.ts';
import type { OpenedBundle } from '../bundle/read/opened-bundle.ts';
import { openBundle } from '../bundle/read/reader.ts';
import { openSshSource } from '../bundle/location/ssh-source.ts';
import type { Log } from '../report/log.ts';
import type { Runner } from '../run/runner.ts';
import { loginName } from '../run/ssh-errors.ts';
import { bundlePath, type BackupDatastore } from './backup-datastore.ts';

/**
 * Opens the bundle with this name.
 * @param runner of the machine with the datastore's bundles
 * @throws UsageError when there is no such bundle, BundleError when it is damaged, CommandError, ConnectionError
 */
export async function openBackup(
  datastore: BackupDatastore,
  name: string,
  runner: Runner,
  options: { readonly log: Log; readonly signal: AbortSignal },
): Promise<OpenedBundle> {
  const path = bundlePath(datastore, name);
  const source = datastore.host
    ? await openSshSource(runner, path, `${loginName(datastore.host)}:${path}`)
    : await openFileSource(path);
  return openBundle(source, options);
}

/** Bytes in MiB, rounded up, as OpenNebula does. */
export function inMb(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
