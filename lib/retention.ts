// Which bundles of a VM go when a new one has come. Their names say whose they are and how old: nobody else
// gives a file such a name and our user as its owner. Only a bundle that can be read counts as one that is kept.
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { openFileSource } from './bundle/file-source.ts';
import { findTrailer, openBundle } from './bundle/reader.ts';
import { errorMessage, hasCode } from './report/errors.ts';
import type { Log } from './report/log.ts';
import { parseBundleName } from './vm/names.ts';

/** A folder that holds bundles, on this machine or another. */
export interface BundleFolder {
  /** Its name for messages. */
  readonly name: string;
  /** Names of the complete files in it that are ours: regular, not empty, this user's own. */
  list(): Promise<readonly string[]>;
  /** Why a bundle cannot be read, from its index and manifest alone; undefined when it can. */
  whyUnreadable(name: string): Promise<string | undefined>;
  /** Gone already is fine. */
  remove(name: string): Promise<void>;
}

/** A folder of this machine. */
export function localBundleFolder(folder: string, log: Log): BundleFolder {
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
    async whyUnreadable(name) {
      try {
        const source = await openFileSource(join(folder, name));
        if (!(await findTrailer(source))) {
          await source.close();
          return 'it has no index';
        }
        await (await openBundle(source, { log })).close();
        return undefined;
      } catch (error) {
        return errorMessage(error);
      }
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
 * Removes a VM's bundles that are older than its `keep` newest readable ones. The one just made counts as the
 * newest, also where the clock went back since; it stays. When it cannot be read, all stay. What cannot be
 * removed is a warning.
 * @param keep at least 1
 * @param made the name of the bundle that has just been completed
 */
export async function removeOldBundles(
  folder: BundleFolder,
  { vmId, keep, made }: { readonly vmId: number; readonly keep: number; readonly made: string },
  log: Log,
): Promise<void> {
  try {
    const why = await folder.whyUnreadable(made);
    if (why !== undefined) {
      log.warn(`all older bundles of VM ${vmId} are kept, as ${made} cannot be read: ${why}`);
      return;
    }
    let readable = 1;
    for (const { name } of bundlesOf(await folder.list(), vmId)) {
      if (name === made) continue;
      if (readable >= keep) {
        await folder.remove(name);
        log.info(`removed ${name}: the last ${keep} of VM ${vmId} are kept`);
        continue;
      }
      const reason = await folder.whyUnreadable(name);
      if (reason === undefined) readable += 1;
      else log.warn(`${name} does not count as one that is kept: ${reason}`);
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
