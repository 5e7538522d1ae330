// A backup datastore of ours, from the XML that oned gives to its driver, and where its bundles lie:
// `<BASE_PATH>/<vm id>/<bundle>`. The attributes are documented in docs/opennebula.md.
import { posix } from 'node:path';
import { parseCompression } from '../input/compression.ts';
import type { XmlElement } from '../input/xml.ts';
import { UnsupportedError, UsageError } from '../report/errors.ts';
import type { CompressionChoice } from '../tools/compressor.ts';
import { parseBundleName } from '../vm/names.ts';
import { idAt, requiredAt, valueAt } from './action-data.ts';

export interface BackupDatastore {
  readonly id: number;
  /** Without a slash at its end. */
  readonly basePath: string;
  /** ONEVMDUMP_COMPRESS; undefined: as configured. */
  readonly compression: CompressionChoice | undefined;
}

/**
 * The DATASTORE of an action's data.
 * @throws UsageError for an attribute that is missing or is not what it must be
 */
export function backupDatastore(data: XmlElement): BackupDatastore {
  const basePath = posix.normalize(requiredAt(data, 'DATASTORE/BASE_PATH')).replace(/\/$/, '');
  if (!basePath.startsWith('/') || basePath.includes('\0') || basePath.includes('\n')) {
    throw new UsageError(
      `BASE_PATH of the datastore is ${JSON.stringify(basePath)}, expected a path`,
    );
  }
  const host = valueAt(data, 'DATASTORE/TEMPLATE/ONEVMDUMP_HOST');
  if (host !== undefined) {
    throw new UnsupportedError(
      `the datastore has ONEVMDUMP_HOST ${JSON.stringify(host)}, but bundles on another host are not supported yet; remove the attribute to keep them in ${basePath} on the front-end`,
    );
  }
  const compress = valueAt(data, 'DATASTORE/TEMPLATE/ONEVMDUMP_COMPRESS');
  return {
    id: idAt(data, 'DATASTORE/ID'),
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
 * @param name what `backup` printed as id, and oned keeps as SOURCE of the backup image
 * @throws UsageError when it is not the name of a bundle, so that nothing outside is ever touched
 */
export function bundlePath(datastore: BackupDatastore, name: string): string {
  const vmId = parseBundleName(name)?.vmId;
  if (vmId === undefined) {
    throw new UsageError(`${JSON.stringify(name.slice(0, 80))} is not the name of a bundle`);
  }
  return posix.join(bundleFolder(datastore, vmId), name);
}
