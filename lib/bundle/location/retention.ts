// Which bundles of a VM go when a new one has come. Their names say how old they are, their manifests whose they are:
// several OpenNebulas may have VMs with the same id. One that is another VM's, or cannot be read, neither counts nor goes.
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleSource } from '../read/bundle.ts';
import { openFileSource } from './file-source.ts';
import { openIndexed } from '../read/indexed-bundle.ts';
import { findTrailer } from '../read/reader.ts';
import { BundleError, errorMessage, hasCode } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import { whyAnother, type KnownVm } from '../../vm/identity.ts';
import { parseBundleName } from '../format/bundle-name.ts';

/** A folder that holds bundles. */
export interface RetentionFolder {
  /** Its name for messages. */
  readonly name: string;
  /** Names of the complete files in it that are ours: regular, not empty, this user's own. */
  list(): Promise<readonly string[]>;
  /**
   * Which VM a bundle is of. Only its index, manifest and vm.xml are read: some kilobytes.
   * @throws why the bundle cannot be read
   */
  whose(name: string): Promise<KnownVm>;
  /** Gone already is fine. */
  remove(name: string): Promise<void>;
}

/** A folder of this machine. */
export function localBundleFolder(folder: string, log: Log): RetentionFolder {
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
    async whose(name) {
      return await vmOf(await openFileSource(join(folder, name)), log);
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

/** Closes `source`. @throws BundleError when it is damaged, or has no index */
async function vmOf(source: BundleSource, log: Log): Promise<KnownVm> {
  try {
    const trailer = await findTrailer(source);
    if (!trailer) throw new BundleError('it has no index');
    const { manifest } = await openIndexed(source, trailer, { log });
    if (!manifest) throw new BundleError('it has no manifest');
    return manifest;
  } finally {
    await source.close();
  }
}

/** In a folder that is everybody's, somebody else's file must neither count nor be followed. */
async function isOwnFile(path: string): Promise<boolean> {
  const facts = await lstat(path).catch(() => undefined);
  // An empty file keeps the name of a bundle that is about to be complete (file-sink.ts).
  return facts?.isFile() === true && facts.size > 0 && facts.uid === process.geteuid?.();
}

/** When the newest bundle of a VM that can be read was begun, in epoch seconds; undefined when there is none. */
export async function newestBundle(
  folder: RetentionFolder,
  own: KnownVm,
): Promise<number | undefined> {
  for (const { name, epoch } of bundlesOf(await folder.list(), own.vm.id)) {
    if ((await whyNotOwn(folder, name, own)) === undefined) return epoch;
  }
  return undefined;
}

/**
 * Removes the oldest bundles of a VM beyond the `keep` newest. The one just made counts as the newest, also where
 * the clock went back since; it stays. When it cannot be read, all stay. What cannot be removed is a warning.
 * @param keep at least 1
 * @param made the name of the bundle that has just been completed
 */
export async function removeOldBundles(
  folder: RetentionFolder,
  { own, keep, made }: { readonly own: KnownVm; readonly keep: number; readonly made: string },
  log: Log,
): Promise<void> {
  const vmId = own.vm.id;
  try {
    try {
      await folder.whose(made);
    } catch (error) {
      const why = errorMessage(error);
      log.warn(`all older bundles of VM ${vmId} are kept, as ${made} cannot be read: ${why}`);
      return;
    }
    let kept = 1;
    for (const { name } of bundlesOf(await folder.list(), vmId)) {
      if (name === made) continue;
      const reason = await whyNotOwn(folder, name, own);
      if (reason !== undefined) {
        log.warn(`${name} is left alone and does not count as one that is kept: ${reason}`);
      } else if (kept < keep) {
        kept += 1;
      } else {
        await folder.remove(name);
        log.info(`removed ${name}: the last ${keep} of VM ${vmId} are kept`);
      }
    }
  } catch (error) {
    log.warn(`cannot remove old bundles of VM ${vmId} in ${folder.name}: ${errorMessage(error)}`);
  }
}

/** Why a bundle is not one of the VM that can be read. */
async function whyNotOwn(
  folder: RetentionFolder,
  name: string,
  own: KnownVm,
): Promise<string | undefined> {
  try {
    return whyAnother(await folder.whose(name), own);
  } catch (error) {
    return errorMessage(error);
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
