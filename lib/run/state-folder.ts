// Folders and files inside the state folder: they are private, and belong to its owner.
import { lchown, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../report/errors.ts';

/** Makes a private folder inside the state folder, unless it exists. @returns its path */
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
 * root, and oneadmin's hooks could not use what root left there.
 */
export async function giveToOwner(path: string, stateFolder: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await stat(stateFolder);
  if (uid !== 0) await lchown(path, uid, gid);
}
