// The address of a bundle in scp's form: a path, or [user@]host:path.
import { UsageError } from '../../report/errors.ts';
import type { SshTarget } from '../../run/runner.ts';
import { parseHost, parseUser } from '../../run/ssh-target.ts';

export interface BundleAddress {
  /** Undefined: this machine. */
  readonly host: SshTarget | undefined;
  readonly path: string;
}

/**
 * Reads an address as scp does: text before a colon is a host, unless it contains a slash (`./a:b` is a file here). An IPv6
 * address has to be in brackets. On a host, a relative path begins in the user's home.
 * @throws UsageError when the host or the path is not valid
 */
export function parseBundleAddress(text: string): BundleAddress {
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
