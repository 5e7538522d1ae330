// Where journals and export locks are kept: the configured folder; or the user's own, where they cannot write the default.
import { access, constants } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { defaultOf } from '../config/config.ts';
import { coreSettings } from '../config/settings.ts';
import { errorMessage, UsageError } from '../report/errors.ts';
import { makeFolders } from '../run/state-folder.ts';

/** The folder an ordinary user falls back to. */
export function userStateFolder(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'onevmdump');
}

/**
 * `configured` when it can be written (made if need be). Where the default cannot, the user's own folder; never in place
 * of one that was set: exports that were told to exclude each other would not, and `cleanup` would look elsewhere.
 * @param warn gets a text that names both when it is the user's own
 * @throws UsageError when a folder that was set cannot be written
 */
export async function stateFolder(
  configured: string,
  env: NodeJS.ProcessEnv,
  warn: (text: string) => void = () => undefined,
): Promise<string> {
  try {
    await makeFolders(configured);
    await access(configured, constants.W_OK | constants.X_OK);
    return configured;
  } catch (error) {
    const why = `${configured} cannot be written (${errorMessage(error)})`;
    if (configured !== defaultOf(coreSettings.stateDir, env)) {
      throw new UsageError(`STATE_DIR: ${why}`, { cause: error });
    }
    const own = userStateFolder(env);
    warn(
      `${why}: ${own} has the undo journals and export locks of this user instead; another user's exports of the same VM are not seen`,
    );
    return own;
  }
}
