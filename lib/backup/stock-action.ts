// OpenNebula's own action, which ours replaces in a TM driver's folder (install.sh --tm). It is kept beside ours as
// `stock.<action>`, for three reasons: it loads files by paths relative to its folder; fs_lvm_ssh of 7.0 looks at the end of
// its name; and backup_cancel of the rsync and restic drivers finds it by `backup ` or `backup_live ` in its command line.
import { access, constants } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * The path of the stock action.
 * @param script the path by which our action was started
 * @returns undefined when there is no stock action
 */
export async function stockAction(script: string): Promise<string | undefined> {
  const path = join(dirname(script), `stock.${basename(script)}`);
  return access(path, constants.X_OK).then(
    () => path,
    () => undefined,
  );
}
