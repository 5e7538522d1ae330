// Fetches the beginning of a disk exactly as an image datastore will: by OpenNebula's datastore/downloader.sh, as oned's user
// and without our environment. So it shows at once whether downloader.sh knows our addresses, whether the driver is
// installed, runs and is of this version, and whether oned's user can read the bundle.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CommandError, errorMessage, UnsupportedError } from '../report/errors.ts';
import type { FileOwner } from '../restore/staging-folder.ts';
import type { Runner } from '../run/runner.ts';

export interface Fetcher {
  /** Of this machine. */
  readonly runner: Runner;
  /** oned's user, if we are root and oned is not. */
  readonly owner: FileOwner | undefined;
  /** $ONE_LOCATION. */
  readonly oneLocation: string | undefined;
  /** The path that `findDownloader` returned. */
  readonly downloader: string;
}

/** What a service of the front-end has. */
const servicePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Bytes. */
const beginning = 512;

/**
 * Finds OpenNebula's downloader.sh.
 * @param oneLocation $ONE_LOCATION; undefined or empty: the layout of OpenNebula's packages
 * @throws UnsupportedError when there is none on this machine, or it does not know our addresses
 */
export async function findDownloader(oneLocation: string | undefined): Promise<string> {
  const location = oneLocation ? join(oneLocation, 'var') : '/var/lib/one';
  const downloader = join(location, 'remotes/datastore/downloader.sh');
  await requireOurLines(downloader);
  return downloader;
}

/** @throws UnsupportedError that says why oned could not fetch from `url`; the runner's signal's reason */
export async function tryToFetch(url: string, fetcher: Fetcher): Promise<void> {
  const { runner, owner, oneLocation, downloader } = fetcher;
  const asUser = owner
    ? ['setpriv', `--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--init-groups']
    : [];
  const variables = [
    `PATH=${servicePath}`,
    `HOME=${owner ? await homeOf(owner.uid, runner) : homedir()}`,
    ...(oneLocation ? [`ONE_LOCATION=${oneLocation}`] : []),
  ];
  const fetching = [downloader, '--nodecomp', '--max-size', String(beginning), url, '-'];
  const command = { program: 'env', args: ['-i', ...variables, ...asUser, ...fetching] };
  const doing = 'fetch the beginning of a disk as OpenNebula would';
  const { stdout } = await runner.run(command, { doing }).catch((error: unknown) => {
    if (!(error instanceof CommandError)) throw error;
    throw new UnsupportedError(error.message, { cause: error });
  });
  if (stdout.length === 0)
    throw new UnsupportedError(`cannot ${doing}: ${downloader} gave nothing`);
}

async function requireOurLines(downloader: string): Promise<void> {
  let script: string;
  try {
    script = await readFile(downloader, 'utf8');
  } catch (cause) {
    throw new UnsupportedError(
      `OpenNebula's ${downloader} cannot be read (${errorMessage(cause)})`,
      { cause },
    );
  }
  if (script.includes('\nonevmdump://*)\n')) return;
  throw new UnsupportedError(
    `${downloader} does not know onevmdump:// (install.sh of onevmdump adds it)`,
  );
}

async function homeOf(uid: number, runner: Runner): Promise<string> {
  const command = { program: 'getent', args: ['passwd', String(uid)] };
  const { stdout } = await runner.run(command, { acceptStatus: [2] });
  return stdout.toString().split(':')[5] ?? '/';
}
