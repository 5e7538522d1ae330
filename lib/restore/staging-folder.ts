// The private folder into which a restore writes disks for OpenNebula, and the user who must be able to read it.
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
 * The user that the staged files must be given to: oned's, when we run as root and oned does not; undefined when we run
 * as oned's user already.
 * @param datastoreLocation the folder of the datastores, which belongs to oned's user
 * @throws UsageError when we are neither root nor oned's user, because oned could not read our files
 */
export async function stagingOwner(datastoreLocation: string): Promise<FileOwner | undefined> {
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
 * The owner of OpenNebula's datastore folder or, if that is missing, of its parent. `hidden`: the folder belongs to
 * another user and we may not look into it, which is how OpenNebula's packages set it up. Undefined: neither folder
 * exists; if oned then cannot read an image, its error says so.
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
 * Makes a private folder under `parent`, and `parent` itself when it is missing.
 * @param owner becomes the owner of the folder, and of the parent if it was made; undefined leaves both to us
 * @returns the folder, and the journal entry that removes it
 * @throws UsageError when other users could replace files in `parent`, FailedError when the folder cannot be made
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
    // lchown, because the owner of the parent could replace the folder by a symbolic link at any time.
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

/** @returns true when the folder was made, false when it existed. */
async function makeUnlessThere(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o755 });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** @throws UsageError when another user could replace what is in the folder. */
async function requireOurs(folder: string, readerUid: number | undefined): Promise<void> {
  const { uid, mode } = await stat(folder);
  const trusted = [0, process.geteuid?.(), readerUid].includes(uid);
  const sticky = (mode & 0o1000) !== 0;
  if (trusted && (sticky || (mode & 0o022) === 0)) return;
  throw new UsageError(
    `${folder} can be changed by other users, who could replace the disks to restore; correct its owner and mode, or choose another folder with --staging-dir`,
  );
}
