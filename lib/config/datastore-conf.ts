// Reads OpenNebula's own etc/datastore/datastore.conf, which is next to the drivers. OpenNebula's actions also read it.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, hasCode, UsageError } from '../report/errors.ts';

/**
 * Returns BACKUP_BASE_PATH, the folder in which `prebackup` stages; undefined if it stages in the VM's folder.
 * @param remotes the folder with `datastore`, `tm` and `etc`
 * @throws UsageError when the file exists but cannot be used
 */
export async function backupBasePath(remotes: string): Promise<string | undefined> {
  const file = join(remotes, 'etc/datastore/datastore.conf');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new UsageError(`cannot read ${file}: ${errorMessage(error)}`, { cause: error });
  }
  const found = [
    ...text.matchAll(/^[ \t]*(?:export[ \t]+)?BACKUP_BASE_PATH="?([^"\n]+)"?[ \t]*$/gm),
  ];
  const path = found.at(-1)?.[1]?.trim();
  if (path === undefined || path.startsWith('/')) return path;
  throw new UsageError(`${file}: BACKUP_BASE_PATH is ${JSON.stringify(path)}, expected a path`);
}
