// Which bundles of a VM go when a new one has come. Nothing but the names decides: nobody else gives a
// file such a name and our user as its owner.
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, hasCode } from './report/errors.ts';
import type { Log } from './report/log.ts';
import { parseBundleName } from './vm/names.ts';

/** A folder that holds bundles, on this machine or another. */
export interface BundleFolder {
  /** Its name for messages. */
  readonly name: string;
  /** Names of the complete files in it that are ours: regular, not empty, this user's own. */
  list(): Promise<readonly string[]>;
  /** Gone already is fine. */
  remove(name: string): Promise<void>;
}

/** A folder of this machine. */
export function localBundleFolder(folder: string): BundleFolder {
  return {
    name: folder,
    async list() {
      const own: string[] = [];
      for (const name of await readdir(folder)) {
        // Others have far more files in a folder such as /tmp than there are bundles.
        if (parseBundleName(name) && (await isOwnFile(join(folder, name)))) own.push(name);
      }
      return own;
    },
    async remove(name) {
      try {
        await unlink(join(folder, name));
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error;
      }
    },
  };
}

/** In a folder that is everybody's, somebody else's file must neither count nor be followed. */
async function isOwnFile(path: string): Promise<boolean> {
  const facts = await lstat(path).catch(() => undefined);
  // An empty file keeps the name of a bundle that is about to be complete (file-sink.ts).
  return facts?.isFile() === true && facts.size > 0 && facts.uid === process.geteuid?.();
}

/** When the newest bundle of a VM was begun, in epoch seconds; undefined when there is none. */
export async function newestBundle(
  folder: BundleFolder,
  vmId: number,
): Promise<number | undefined> {
  return bundlesOf(await folder.list(), vmId)[0]?.epoch;
}

/**
 * Removes the oldest bundles of a VM beyond the `keep` newest. The one just made counts as the newest,
 * also where the clock went back since; it stays. What cannot be removed is a warning.
 * @param keep at least 1
 * @param made the name of the bundle that has just been completed
 */
export async function removeOldBundles(
  folder: BundleFolder,
  { vmId, keep, made }: { readonly vmId: number; readonly keep: number; readonly made: string },
  log: Log,
): Promise<void> {
  try {
    const others = bundlesOf(await folder.list(), vmId).filter(({ name }) => name !== made);
    for (const { name } of others.slice(Math.max(1, keep) - 1)) {
      await folder.remove(name);
      log.info(`removed ${name}: the last ${keep} of VM ${vmId} are kept`);
    }
  } catch (error) {
    log.warn(`cannot remove old bundles of VM ${vmId} in ${folder.name}: ${errorMessage(error)}`);
  }
}

/** Newest first. */
function bundlesOf(
  names: readonly string[],
  vmId: number,
): readonly { readonly name: string; readonly epoch: number }[] {
  return names
    .flatMap((name) => {
      const parsed = parseBundleName(name);
      return parsed?.vmId === vmId ? [{ name, epoch: parsed.epoch }] : [];
    })
    .sort((one, other) => other.epoch - one.epoch);
}
