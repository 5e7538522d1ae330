// Opens bundles and folders of bundles for a command, here or on another machine, and closes the connections afterwards.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openFileSource } from '../bundle/location/file-source.ts';
import type { BundleSource } from '../bundle/read/bundle.ts';
import { openSshSource } from '../bundle/location/ssh-source.ts';
import { parseBundleAddress } from '../bundle/location/bundle-address.ts';
import type { Config } from '../config/config.ts';
import { errorMessage, UsageError } from '../report/errors.ts';
import type { Log } from '../report/log.ts';
import { namesIn } from '../bundle/location/host-file.ts';
import { withConnections } from './with-run.ts';

interface Context {
  readonly config: Config;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** A folder that may have bundles in it. */
export interface BundleFolder {
  /** The names of everything in it. */
  readonly names: readonly string[];
  /** The caller closes the source. @throws as `openFileSource` and `openSshSource` */
  open(name: string): Promise<BundleSource>;
}

/**
 * Calls `body` with a folder; `text` is a path or [user@]host:path.
 * @throws UsageError when there is no such folder, or it cannot be read; ConnectionError
 */
export async function withBundleFolder<T>(
  text: string,
  context: Context,
  body: (folder: BundleFolder) => Promise<T>,
): Promise<T> {
  const { host, path } = parseBundleAddress(text);
  const cannot = (why: string, cause?: unknown): UsageError =>
    new UsageError(`cannot list ${text}: ${why}`, { cause });
  if (!host) {
    const names = await readdir(path).catch((error: unknown) => {
      throw cannot(errorMessage(error), error);
    });
    return await body({ names, open: (name) => openFileSource(join(path, name)) });
  }
  return await withConnections('read', context, async ({ connections }) => {
    const runner = connections.runner(host, context.signal);
    const names = await namesIn(runner, path).catch((error: unknown) => {
      throw error instanceof UsageError ? cannot(error.message, error) : error;
    });
    return await body({
      names,
      open: (name) => openSshSource(runner, join(path, name), `${text}/${name}`),
    });
  });
}

/**
 * Calls `body` with the source of a bundle; `text` is a path or [user@]host:path. `body` closes the source.
 * @throws as `openFileSource` and `openSshSource`
 */
export async function withBundleSource<T>(
  text: string,
  context: Context,
  body: (source: BundleSource) => Promise<T>,
): Promise<T> {
  const { host, path } = parseBundleAddress(text);
  if (!host) return await body(await openFileSource(path));
  return await withConnections('read', context, async ({ connections }) =>
    body(await openSshSource(connections.runner(host, context.signal), path, text)),
  );
}
