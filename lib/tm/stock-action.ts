// OpenNebula's own action, whose place ours has taken in a TM driver's folder (install.sh --tm). It lies beside
// ours as `stock.<action>`, since it finds what it needs by where it lies; and backup_cancel of the rsync and restic
// drivers finds it by `backup_live ` or `backup ` in its command line.
import { access, constants } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** @param script the path by which our action was started. @returns undefined when there is none beside it */
export async function stockAction(script: string): Promise<string | undefined> {
  const path = join(dirname(script), `stock.${basename(script)}`);
  return access(path, constants.X_OK).then(
    () => path,
    () => undefined,
  );
}
