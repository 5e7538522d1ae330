// Where a bundle is, in scp's words: a path, or [user@]host:path.
import { UsageError } from '../../report/errors.ts';
import type { SshTarget } from '../../run/runner.ts';
import { parseHost, parseUser } from '../../run/ssh-target.ts';

export interface BundlePlace {
  /** Undefined is this machine. */
  readonly host: SshTarget | undefined;
  readonly path: string;
}

/**
 * As scp reads it: a colon makes it a host's, unless a slash comes before it (`./a:b` is a file here). An
 * IPv6 address stands in brackets. A relative path begins in the user's home there.
 * @throws UsageError
 */
export function parseBundlePlace(text: string): BundlePlace {
  const [, user, bracketed, plain, path] =
    /^(?:([^/:@]*)@)?(?:\[([^/\]]*)\]|([^/:[]*)):(.*)$/s.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || path === undefined) return { host: undefined, path: text };
  if (path === '') throw new UsageError(`${text} names a host, but no file there`);
  return {
    host: { host: parseHost(host), ...(user === undefined ? {} : { user: parseUser(user) }) },
    path,
  };
}
