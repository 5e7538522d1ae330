// Our backup datastore, from the XML that oned gives to its driver, and the paths of its bundles:
// `<BASE_PATH>/<vm id>/<bundle>`, on the front-end or on the host that the datastore names. Its attributes are documented
// in docs/backup-datastore.md.
import { posix } from 'node:path';
import { parseCompression } from '../config/compression.ts';
import { parseSshTarget } from '../run/ssh-target.ts';
import type { XmlElement } from '../xml/xml.ts';
import { UsageError } from '../report/errors.ts';
import type { SshTarget } from '../run/runner.ts';
import type { CompressionChoice } from '../bundle/compression/compressions.ts';
import { parseBundleName } from '../bundle/format/bundle-name.ts';
import { idAt, requiredAt, valueAt } from './action-data.ts';

export interface BackupDatastore {
  readonly id: number;
  /** ONEVMDUMP_HOST and ONEVMDUMP_USER; undefined: the front-end. */
  readonly host: SshTarget | undefined;
  /** An absolute path without a slash at its end. */
  readonly basePath: string;
  /** ONEVMDUMP_COMPRESS; undefined: the configured compression. */
  readonly compression: CompressionChoice | undefined;
}

/**
 * The DATASTORE of an action's data.
 * @throws UsageError for an attribute that is missing or not valid
 */
export function backupDatastore(data: XmlElement): BackupDatastore {
  const basePath = posix.normalize(requiredAt(data, 'DATASTORE/BASE_PATH')).replace(/\/$/, '');
  if (!basePath.startsWith('/') || basePath.includes('\0') || basePath.includes('\n')) {
    throw new UsageError(
      `BASE_PATH of the datastore is ${JSON.stringify(basePath)}, expected a path`,
    );
  }
  const attribute = (name: string) => valueAt(data, `DATASTORE/TEMPLATE/${name}`);
  const compress = attribute('ONEVMDUMP_COMPRESS');
  return {
    id: idAt(data, 'DATASTORE/ID'),
    host: parseSshTarget(attribute('ONEVMDUMP_HOST'), attribute('ONEVMDUMP_USER'), {
      hostOption: 'ONEVMDUMP_HOST of the datastore',
      userOption: 'ONEVMDUMP_USER of the datastore',
    }),
    basePath,
    compression: compress === undefined ? undefined : parseCompression(compress),
  };
}

/** The folder of a VM's bundles. */
export function bundleFolder(datastore: BackupDatastore, vmId: number): string {
  return posix.join(datastore.basePath, String(vmId));
}

/**
 * The path of a bundle.
 * @param name the id that `backup` printed, which oned keeps as SOURCE of the backup image
 * @throws UsageError when it is not the name of a bundle, so that the path cannot leave the datastore
 */
export function bundlePath(datastore: BackupDatastore, name: string): string {
  const vmId = parseBundleName(name)?.vmId;
  if (vmId === undefined) {
    throw new UsageError(`${JSON.stringify(name.slice(0, 80))} is not the name of a bundle`);
  }
  return posix.join(bundleFolder(datastore, vmId), name);
}
