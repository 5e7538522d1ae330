// OpenNebula's own action, whose place ours has taken in a TM driver's folder (install.sh --tm): it lies under its own
// name in `<folder>.stock`, beside the folder, since it looks at its name, and loads what lies beside the folders.
import { access, constants } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** @param script the path by which our action was started. @returns undefined when there is none */
export async function stockAction(script: string): Promise<string | undefined> {
  const path = join(`${dirname(script)}.stock`, basename(script));
  return access(path, constants.X_OK).then(
    () => path,
    () => undefined,
  );
}
