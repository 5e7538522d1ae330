// The machine where an action of oned finds the disks of a VM.
import { posix } from 'node:path';
import type { Config } from '../config/config.ts';
import { targetOfHost } from '../run/local-host.ts';
import type { SshTarget } from '../run/runner.ts';
import type { BackupArguments } from './backup-request.ts';

export interface DisksHost {
  /** The host, as oneadmin reaches it; undefined: this machine. */
  readonly remote: SshTarget | undefined;
  /** The configuration, with the DATASTORE_LOCATION that oned uses on that host. */
  readonly config: Config;
}

/** The machine that the arguments of an action name. @throws UsageError */
export async function disksHost(
  { host, folder }: Pick<BackupArguments, 'host' | 'folder'>,
  config: Config,
): Promise<DisksHost> {
  const remote = await targetOfHost(host);
  // <location>/<system datastore>/<vm>
  return { remote, config: { ...config, datastoreLocation: posix.resolve(folder, '../..') } };
}
