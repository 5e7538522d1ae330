// An unpacked release in a temporary folder, small enough to see what install.sh makes of it, and the
// means to run it. Nothing outside the temporary folder is written.
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';

export const repository = dirname(dirname(import.meta.dirname));
export const shippedConfig = '# COMPRESS = gzip\n';

/** What install.sh itself calls. */
const ownTools = [
  ...[
    'awk',
    'bash',
    'cat',
    'chmod',
    'chown',
    'cmp',
    'cut',
    'dirname',
    'env',
    'find',
    'getent',
    'grep',
  ],
  ...[
    'head',
    'ln',
    'id',
    'ls',
    'mkdir',
    'mktemp',
    'mv',
    'readlink',
    'rm',
    'rmdir',
    'setpriv',
    'sha256sum',
    'sort',
    'stat',
    'test',
    'tr',
  ],
];

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface InstallOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Programs found beside those of install.sh itself: name -> shell script. Default: this PATH. */
  readonly tools?: Readonly<Record<string, string>>;
  /** With `tools`: a program of install.sh itself that is not found. */
  readonly without?: string;
  /** Run as a user that may write nowhere. */
  readonly asNobody?: boolean;
  /** Default: the user who runs the tests. */
  readonly user?: string | null;
}

export interface Release {
  /** The temporary folder; everything below it is removed at the end. */
  readonly temp: string;
  /** The unpacked release. */
  readonly folder: string;
  /** Runs install.sh. */
  install(args: readonly string[], options?: InstallOptions): Promise<Result>;
  /** Writes a file of the release. */
  write(path: string, content: string, mode?: number): Promise<void>;
  remove(): Promise<void>;
}

/** A release with a command, one hook, one TM action and one datastore action. */
export async function unpackRelease(): Promise<Release> {
  const temp = await mkdtemp(join(tmpdir(), 'onevmdump install '));
  await chmod(temp, 0o755);
  const folder = join(temp, 'the release');
  const write: Release['write'] = async (path, content, mode = 0o755) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
    await chmod(join(folder, path), mode);
  };
  const command = "#!/usr/bin/env node\nconsole.log('1.2.3');\n";
  await write('dist/bin/onevmdump', command);
  await write('dist/hooks/export_on_poweroff', '#!/usr/bin/env node\n');
  await write('dist/drivers/tm/prebackup', '#!/usr/bin/env node\n');
  await write(
    'dist/drivers/tm-mads',
    'ssh\nlocal\nshared\nqcow2\nfs_lvm\nfs_lvm_ssh\nlvm\nceph\n',
    0o644,
  );
  await write('dist/drivers/datastore/backup', '#!/usr/bin/env node\n');
  await write('etc/onevmdump.conf', shippedConfig, 0o644);
  await copyFile(join(repository, 'install.sh'), join(folder, 'install.sh'));
  return {
    temp,
    folder,
    write,
    async install(args, options = {}) {
      const { env = {}, tools, without, asNobody = false, user = userInfo().username } = options;
      const path = tools ? await pathWith(join(temp, 'path'), tools, without) : process.env['PATH'];
      const asUser = user === null || args.includes('--uninstall') ? [] : ['-u', user];
      const script = [join(folder, 'install.sh'), ...asUser, ...args];
      // setpriv takes its privileges from a root that CI and containers have; others have none to drop.
      const drop = ['--reuid=65534', '--regid=65534', '--clear-groups', '/bin/bash'];
      const isDropped = asNobody && userInfo().uid === 0;
      const { status, stdout, stderr } = spawnSync(
        isDropped ? '/usr/bin/setpriv' : '/bin/bash',
        isDropped ? [...drop, ...script] : script,
        { encoding: 'utf8', env: { PATH: path, ...env }, cwd: temp },
      );
      return { status, stdout, stderr };
    },
    remove: () => rm(temp, { recursive: true, force: true }),
  };
}

/** A PATH of its own, with what install.sh needs and the given programs. */
async function pathWith(
  folder: string,
  tools: Readonly<Record<string, string>>,
  without: string | undefined,
): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  for (const name of ownTools.filter((own) => !(own in tools) && own !== without)) {
    const found = spawnSync('/bin/bash', ['-c', `command -v ${name}`], { encoding: 'utf8' });
    await symlink(found.stdout.trim(), join(folder, name));
  }
  for (const [name, script] of Object.entries(tools)) {
    // wx: a name that is linked to the machine's own program must never be written through.
    await writeFile(join(folder, name), `#!/bin/bash\n${script}\n`, { mode: 0o755, flag: 'wx' });
  }
  return folder;
}

/** Paths of all files below a folder, sorted; folders end in `/`. */
export async function tree(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .map((entry) => {
      const path = join(entry.parentPath, entry.name).slice(folder.length + 1);
      return entry.isDirectory() ? `${path}/` : path;
    })
    .sort();
}
