// Where a bundle goes: `-d` takes a folder, as its documentation said, or the full name of the file,
// as the older onevmdump really took it.
import { access, constants, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Compression } from './bundle/manifest.ts';
import { errorMessage, FailedError, hasCode, UsageError } from './report/errors.ts';
import { bundleName } from './vm/names.ts';

const extensions: Record<Compression, string> = { gzip: 'tar.gz', zstd: 'tar.zst', none: 'tar' };

/**
 * The bundle's full path. Checked before anything is done: its folder exists and can be written,
 * the name is free. `epoch` is in seconds.
 * @throws UsageError, FailedError
 */
export async function bundleDestination(
  destination: string,
  facts: { readonly vmId: number; readonly epoch: number; readonly compression: Compression },
): Promise<string> {
  const path = resolve(destination);
  const name = bundleName(facts.vmId, facts.epoch, extensions[facts.compression]);
  const isFolder = destination.endsWith('/') || (await kind(path)) === 'folder';
  const bundle = isFolder ? join(path, name) : path;
  const folder = dirname(bundle);
  if ((await kind(folder)) !== 'folder') {
    throw new UsageError(`cannot write ${bundle}: there is no folder ${folder}`);
  }
  if ((await kind(bundle)) !== 'nothing') {
    throw new UsageError(`cannot write ${bundle}: it is already there`);
  }
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new FailedError(`cannot write ${basename(bundle)} in ${folder}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
  return bundle;
}

async function kind(path: string): Promise<'folder' | 'other' | 'nothing'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return 'nothing';
    throw new FailedError(`cannot look at ${path}: ${errorMessage(error)}`, { cause: error });
  }
}
