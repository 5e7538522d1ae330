// A backup world in which onevmdump is installed by install.sh, beside a downloader.sh that has the form of OpenNebula's
// (datastore_mad/remotes/downloader.sh, 6.4 to 7.4): its options, its list of URL kinds, and its exit codes.
import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { makeBackupWorld, type BackupWorld } from './backup-world.ts';
import { runToEnd } from './shell.ts';

const installer = new URL('../../install.sh', import.meta.url).pathname;

const downloader = `#!/bin/bash
VAR_LOCATION=$ONE_LOCATION/var
esc_sq() {
    echo "$1" | sed -e "s/'/'\\\\\\\\''/g"
}
while [[ $1 == -* && $1 != - ]]; do
    case "$1" in
    --nodecomp) shift ;;
    --max-size) most=$2; shift 2 ;;
    *) echo "Arguments error" >&2; exit 255 ;;
    esac
done
FROM="$1"
TO="$2"
case "$FROM" in
http://*)
    exit 255
    ;;
*)
    if [ ! -r "$FROM" ]; then
        echo "Cannot read from $FROM" >&2
        exit 255
    fi
    command="cat '$(esc_sq "$FROM")'"
    ;;
esac
into() {
    if [ "$TO" = - ]; then "$@"; else "$@" > "$TO"; fi
}
if [ -n "$most" ]; then
    eval "$command" | into head -c "$most"
else
    eval "$command" | into cat
fi
if [ "\${PIPESTATUS[0]}" != 0 ]; then
    echo "Error copying" >&2
    exit 255
fi
`;

export interface InstalledWorld extends BackupWorld {
  /** `remotes/datastore`. */
  readonly drivers: string;
}

/**
 * Installs onevmdump in a folder that stands for $ONE_LOCATION, for this user, and lets the stand-in's datastores use it.
 * @param driverEnv oned's environment
 * @returns `remotes/datastore`
 */
export async function installOnevmdump(
  location: string,
  { sandbox, stateFolder, driverEnv }: InstallOptions,
): Promise<string> {
  const drivers = join(location, 'var/remotes/datastore');
  await mkdir(drivers, { recursive: true });
  await mkdir(join(location, 'etc'));
  await writeFile(join(drivers, 'downloader.sh'), downloader, { mode: 0o755 });
  const args = ['-d', location, '-u', userInfo().username];
  const { code, stderr } = await runToEnd(installer, args, { env: { ...process.env } });
  if (code !== 0) throw new Error(stderr);
  await writeFile(join(location, 'etc/onevmdump.conf'), `STATE_DIR = ${stateFolder}\n`);
  sandbox.world.backupDriver = {
    folder: join(drivers, 'onevmdump'),
    env: driverEnv,
    downloader: join(drivers, 'downloader.sh'),
  };
  return drivers;
}

interface InstallOptions {
  readonly sandbox: Sandbox;
  readonly stateFolder: string;
  readonly driverEnv: NodeJS.ProcessEnv;
}

export async function makeInstalledWorld(): Promise<InstalledWorld> {
  const world = await makeBackupWorld();
  const location = world.driverEnv['ONE_LOCATION']!;
  const drivers = await installOnevmdump(location, {
    sandbox: world.sandbox,
    stateFolder: join(world.folder, 'state'),
    driverEnv: world.driverEnv,
  });
  const env = { ...world.env, ONE_LOCATION: location };
  return {
    ...world,
    drivers,
    env,
    run: (arguments_, options = {}) =>
      world.run(arguments_, { ...options, env: { ONE_LOCATION: location, ...options.env } }),
  };
}
