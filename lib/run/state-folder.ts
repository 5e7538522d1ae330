// Where journals are kept: the configured folder, or the user's own where that one is not ours.
import { access, constants, lchown, mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { hasCode } from '../report/errors.ts';

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

/** A private folder inside the state folder, made if it is missing. @returns its path */
export async function makeStateFolder(stateFolder: string, name: string): Promise<string> {
  const path = join(stateFolder, name);
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    return path;
  }
  await giveToOwner(path, stateFolder);
  return path;
}

/**
 * Gives what root has just made in the state folder to the folder's owner. The first export may be run by
 * root, and oneadmin's hooks could not work with what he left there.
 */
export async function giveToOwner(path: string, stateFolder: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await stat(stateFolder);
  if (uid !== 0) await lchown(path, uid, gid);
}
