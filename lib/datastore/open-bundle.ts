// A bundle of a backup datastore, opened for reading.
import { openFileSource } from '../bundle/location/file-source.ts';
import type { OpenedBundle } from '../bundle/read/opened-bundle.ts';
import { openBundle } from '../bundle/read/reader.ts';
import { openSshSource } from '../bundle/location/ssh-source.ts';
import type { Log } from '../report/log.ts';
import type { Runner } from '../run/runner.ts';
import { loginName } from '../run/ssh-errors.ts';
import { bundlePath, type BackupDatastore } from './backup-datastore.ts';

/**
 * @param runner runs commands on the machine where the datastore's bundles lie
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

/** As OpenNebula counts sizes: MiB, rounded up. */
export function inMb(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
