// Folders and files inside the state folder: they are private, and belong to its owner.
import { lchown, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasCode } from '../report/errors.ts';

/**
 * Makes a private folder and those above it, unless they exist. Node.js's own recursive mkdir never returns where a file
 * system makes no folders, such as /proc.
 * @throws Node's system error
 */
export async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, 'EEXIST') && (await stat(path)).isDirectory()) return;
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error;
    await makeFolders(dirname(path));
    await mkdir(path, { mode: 0o700 }).catch((again: unknown) => {
      // Another run was faster.
      if (!hasCode(again, 'EEXIST')) throw again;
    });
  }
}

/** Makes a private folder inside the state folder, unless it exists. @returns its path */
export async function makeStateFolder(stateFolder: string, name: string): Promise<string> {
  const path = join(stateFolder, name);
  await makeFolders(stateFolder);
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
