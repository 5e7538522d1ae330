// The folder that disks are laid down in for OpenNebula, and who may use it.
import { randomBytes } from 'node:crypto';
import { lchown, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorMessage, FailedError, hasCode, UsageError } from '../report/errors.ts';
import type { Journal, JournalEntry } from '../run/journal.ts';
import { ownPrefix } from '../run/own-prefix.ts';
import { removeFolder } from '../run/undo-kinds.ts';

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * oned's user, when we are root and it is another; undefined when the files may stay ours.
 * @param datastoreLocation belongs to oned's user
 * @throws UsageError when we are another user than oned's, whose files oned cannot read
 */
export async function readerOf(datastoreLocation: string): Promise<FileOwner | undefined> {
  const us = process.geteuid?.();
  const owner = await ownerOf(datastoreLocation);
  if (owner === undefined) return undefined;
  if (owner !== 'hidden') {
    if (us === owner.uid) return undefined;
    if (us === 0) return owner;
  }
  throw new UsageError(
    'restore must run as the user of oned (oneadmin) or as root, since oned has to read the disks it writes; to restore as another OpenNebula user, set ONE_AUTH to the file with that user:password',
  );
}

/**
 * Who owns OpenNebula's datastores here, or the folder that they would be in. `hidden`: another user, who lets nobody
 * in, as OpenNebula's packages set it up. Undefined: there is neither, and an image that cannot be read says so.
 */
async function ownerOf(location: string): Promise<FileOwner | 'hidden' | undefined> {
  for (const folder of [location, dirname(location)]) {
    try {
      const { uid, gid } = await stat(folder);
      return { uid, gid };
    } catch (error) {
      if (hasCode(error, 'EACCES')) return 'hidden';
    }
  }
  return undefined;
}

/**
 * Makes a private folder under `parent`, which is made too when it is missing.
 * @param owner gets it and the parent that was made
 * @throws UsageError when others could exchange what is in it, FailedError
 */
export async function makeStagingFolder(
  parent: string,
  owner: FileOwner | undefined,
  journal: Pick<Journal, 'record'>,
): Promise<{ readonly folder: string; readonly entry: JournalEntry }> {
  const folder = join(parent, `${ownPrefix}${randomBytes(8).toString('hex')}`);
  const entry = await journal.record(removeFolder.undo({ path: folder }));
  try {
    const made = await makeUnlessThere(parent);
    if (owner && made) await lchown(parent, owner.uid, owner.gid);
    await requireOurs(parent, owner?.uid);
    await mkdir(folder, { mode: 0o700 });
    // Whom the parent belongs to can put a link in its place meanwhile.
    if (owner) await lchown(folder, owner.uid, owner.gid);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new FailedError(
      `cannot make a folder in ${parent} to restore the disks into: ${errorMessage(error)}`,
      { cause: error },
    );
  }
  return { folder, entry };
}

/** @returns whether the folder was made now. */
async function makeUnlessThere(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o755 });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** @throws UsageError when another user could exchange what lies in the folder. */
async function requireOurs(folder: string, readerUid: number | undefined): Promise<void> {
  const { uid, mode } = await stat(folder);
  const trusted = [0, process.geteuid?.(), readerUid].includes(uid);
  const sticky = (mode & 0o1000) !== 0;
  if (trusted && (sticky || (mode & 0o022) === 0)) return;
  throw new UsageError(
    `${folder} can be changed by other users, who could exchange the disks to restore; mend its owner and mode, or choose another folder with --staging-dir`,
  );
}
