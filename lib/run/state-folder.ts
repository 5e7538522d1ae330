// Where journals are kept: the configured folder, or the user's own where that one is not ours.
import { access, constants, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The folder an ordinary user falls back to. */
export function userStateFolder(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'onevmdump');
}

/** `configured` when it can be written (made if need be), else the user's own folder. */
export async function stateFolder(configured: string, env: NodeJS.ProcessEnv): Promise<string> {
  try {
    await mkdir(configured, { recursive: true, mode: 0o700 });
    await access(configured, constants.W_OK | constants.X_OK);
    return configured;
  } catch {
    return userStateFolder(env);
  }
}
