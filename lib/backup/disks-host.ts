// The machine where an action of oned finds the disks of a VM.
import { posix } from 'node:path';
import type { Config } from '../config/config.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { SshTarget } from '../run/runner.ts';
import type { BackupArguments } from './backup-request.ts';

export interface DisksPlace {
  /** The host, as oneadmin reaches it; undefined is this machine. */
  readonly remote: SshTarget | undefined;
  /** With the DATASTORE_LOCATION that oned has there. */
  readonly config: Config;
}

/** Where the disks are, as the arguments of an action say. @throws UsageError */
export async function disksPlace(
  { host, folder }: Pick<BackupArguments, 'host' | 'folder'>,
  config: Config,
): Promise<DisksPlace> {
  const remote = await targetOfHost(host);
  // <location>/<system datastore>/<vm>
  return { remote, config: { ...config, datastoreLocation: posix.resolve(folder, '../..') } };
}
