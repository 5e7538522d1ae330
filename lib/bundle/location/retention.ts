// Removes old bundles of a VM after a new one was made. A bundle's name says how old it is, and its manifest which VM it
// belongs to, because several OpenNebulas may have VMs with the same id. A bundle of another VM, or one that cannot be read,
// is not counted and not removed.
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleSource } from '../read/bundle.ts';
import { openFileSource } from './file-source.ts';
import { openIndexed } from '../read/indexed-bundle.ts';
import { findTrailer } from '../read/reader.ts';
import { BundleError, errorMessage, hasCode } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import { whyOtherVm, type KnownVm } from '../../vm/identity.ts';
import { parseBundleName } from '../format/bundle-name.ts';

/** A folder that holds bundles. */
export interface RetentionFolder {
  /** The folder's name for messages. */
  readonly name: string;
  /** Names of the complete bundles in it that are our own: regular files, not empty, owned by this user. */
  list(): Promise<readonly string[]>;
  /**
   * The VM that a bundle belongs to. Reads only its index, manifest and vm.xml, which are some kilobytes.
   * @throws when the bundle cannot be read
   */
  vmOf(name: string): Promise<KnownVm>;
  /** Removes a bundle; one that does not exist is not an error. */
  remove(name: string): Promise<void>;
}

/** A folder of this machine. */
export function localBundleFolder(folder: string, log: Log): RetentionFolder {
  return {
    name: folder,
    async list() {
      const own: string[] = [];
      for (const name of await readdir(folder)) {
        // The name is checked first: a folder such as /tmp has far more other files than bundles.
        if (parseBundleName(name) && (await isOwnFile(join(folder, name)))) own.push(name);
      }
      return own;
    },
    async vmOf(name) {
      return await readVm(await openFileSource(join(folder, name)), log);
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
async function readVm(source: BundleSource, log: Log): Promise<KnownVm> {
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

/** In a folder that others can write to, a file of another user must not be counted, nor a link followed. */
async function isOwnFile(path: string): Promise<boolean> {
  const facts = await lstat(path).catch(() => undefined);
  // An empty file reserves the name of a bundle that is about to be complete (file-sink.ts).
  return facts?.isFile() === true && facts.size > 0 && facts.uid === process.geteuid?.();
}

/** When the newest readable bundle of a VM was begun, in epoch seconds; undefined when there is none. */
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
 * Removes all bundles of a VM but the `keep` newest. The bundle just made is treated as the newest, even if the clock has been
 * set back. When it cannot be read, all bundles are kept. What cannot be removed is a warning.
 * @param keep at least 1
 * @param made the name of the bundle just made
 */
export async function removeOldBundles(
  folder: RetentionFolder,
  { own, keep, made }: { readonly own: KnownVm; readonly keep: number; readonly made: string },
  log: Log,
): Promise<void> {
  const vmId = own.vm.id;
  try {
    try {
      await folder.vmOf(made);
    } catch (error) {
      const why = errorMessage(error);
      log.warn(`all older bundles of VM ${vmId} are kept, because ${made} cannot be read: ${why}`);
      return;
    }
    let kept = 1;
    for (const { name } of bundlesOf(await folder.list(), vmId)) {
      if (name === made) continue;
      const reason = await whyNotOwn(folder, name, own);
      if (reason !== undefined) {
        log.warn(`${name} is left alone and is not counted: ${reason}`);
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

/** Why a bundle does not belong to the VM, or cannot be read; undefined when it belongs to it. */
async function whyNotOwn(
  folder: RetentionFolder,
  name: string,
  own: KnownVm,
): Promise<string | undefined> {
  try {
    return whyOtherVm(await folder.vmOf(name), own);
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
    .sort((first, second) => second.epoch - first.epoch);
}
