// Opens the file of a bundle for a command, wherever it is, and ends what that took.
import { openFileSource } from './bundle/file-source.ts';
import type { BundleSource } from './bundle/bundle.ts';
import { openSshSource } from './bundle/ssh-source.ts';
import { parseBundlePlace } from './input/bundle-place.ts';
import type { Config } from './input/config.ts';
import type { Log } from './report/log.ts';
import { withConnections } from './with-run.ts';

/**
 * Does `body` with the bytes of a bundle; `text` is a path or [user@]host:path. `body` closes the source.
 * @throws as `openFileSource` and `openSshSource`
 */
export async function withBundleSource<T>(
  text: string,
  context: { readonly config: Config; readonly log: Log; readonly signal: AbortSignal },
  body: (source: BundleSource) => Promise<T>,
): Promise<T> {
  const { host, path } = parseBundlePlace(text);
  if (!host) return await body(await openFileSource(path));
  return await withConnections('read', context, async ({ connections }) =>
    body(await openSshSource(connections.runner(host, context.signal), path, text)),
  );
}
