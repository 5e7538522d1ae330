// Chooses the folder for journals and export locks: the configured one, or the user's own if they cannot write to the
// default folder.
import { access, constants } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { defaultOf } from '../config/config.ts';
import { coreSettings } from '../config/settings.ts';
import { errorMessage, UsageError } from '../report/errors.ts';
import { makeFolders } from '../run/state-folder.ts';

/** The user's own folder, for users who cannot write to the default one. */
export function userStateFolder(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'onevmdump');
}

/**
 * Returns `configured` if this user can write to it; it is created if it is missing. If it is the default and cannot be
 * written, returns the user's own folder. A folder that was set is never replaced: exports that must exclude each other
 * would not do so, and `cleanup` would look in another folder.
 * @param warn called with a text that names both folders if the user's own folder is returned
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
