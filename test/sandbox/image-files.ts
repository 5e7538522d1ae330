// What the fs datastore driver does with an image's file: find its size, check where it lies, copy it
// and probe its format. Behaviour read in datastore_mad/remotes/{libfs.sh,fs/cp,fs/stat} of 6.10.5.
import { randomBytes } from 'node:crypto';
import { readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Datastore } from './datastores.ts';
import { internal } from './failure.ts';
import { run } from './run.ts';
import type { World } from './world.ts';

export interface Probe {
  readonly format: string;
  readonly sizeMb: number;
}

interface QemuInfo {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'format-specific'?: { readonly data?: { readonly 'data-file'?: string } };
}

/** `qemu-img info` without being told the format, as OpenNebula's drivers do; backing files are noted. */
export async function probe(world: World, path: string): Promise<Probe> {
  const info = JSON.parse(await run('qemu-img', ['info', '--output=json', path])) as QemuInfo;
  const named = [info['backing-filename'], info['format-specific']?.data?.['data-file']];
  for (const backing of named) {
    if (backing !== undefined) world.probedBackingFiles.push({ probed: path, backing });
  }
  return { format: info.format, sizeMb: Math.ceil(info['virtual-size'] / 1048576) };
}

const accessWords: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  ENOTDIR: 'Not a directory',
};

/** The driver's `stat`: SIZE in MiB. @throws Failure 8192, which one.image.allocate passes on at once. */
export async function statSource(world: World, path: string): Promise<number> {
  try {
    await stat(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const words = accessWords[code] ?? code;
    throw internal(`Cannot parse image SIZE: cannot access '${path}' (${words})`);
  }
  try {
    return (await probe(world, path)).sizeMb;
  } catch {
    throw internal('Cannot parse image SIZE: Runtime error during size estimation');
  }
}

/** `readlink -f`: the last part need not exist. */
async function canonical(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const target = await readlink(path).catch(() => undefined);
    if (target !== undefined) return canonical(join(dirname(path), target));
    return join(await realpath(dirname(path)), basename(path));
  }
}

/** Where `path` may not be copied from: outside SAFE_DIRS and inside RESTRICTED_DIRS. */
async function isRestricted(world: World, path: string): Promise<boolean> {
  const real = await canonical(path);
  const inside = (dirs: string): boolean =>
    dirs.split(' ').some((dir) => dir !== '' && real.startsWith(dir));
  const { safeDirs, restrictedDirs, dir } = world.settings;
  return !inside(safeDirs) && inside(`${dir}/ /etc/one/ ${restrictedDirs}`);
}

/** The driver's `cp`. @returns SOURCE and FORMAT. @throws Error with the driver's stderr in one line. */
export async function copySource(
  world: World,
  datastore: Datastore,
  path: string,
  cdrom: boolean,
): Promise<{ source: string; format: string }> {
  if (await isRestricted(world, path)) {
    const dirs = `/var/lib/one/ /etc/one/ /var/lib/one/ ${world.settings.restrictedDirs}`;
    throw new Error(
      `ERROR: cp: Not allowed to copy images from ${dirs} ` +
        `Not allowed to copy image from ${path}, check RESTRICTED_DIRS in your datastore`,
    );
  }
  const source = newSource(datastore);
  try {
    await run('cp', ['--sparse=always', '--', path, source], world.ending);
    const { format } = await probe(world, source);
    const driver = datastore.template.get('DRIVER');
    if (driver === undefined || format === driver || cdrom) return { source, format };
    await run('qemu-img', ['convert', '-O', driver, source, `${source}.tmp`], world.ending);
    await rename(`${source}.tmp`, source);
    return { source, format: (await probe(world, source)).format };
  } catch (error) {
    await rm(source, { force: true });
    await rm(`${source}.tmp`, { force: true });
    throw error;
  }
}

/** A new file name in the datastore: 32 hexadecimal digits. */
export function newSource(datastore: Datastore): string {
  return `${datastore.basePath}/${randomBytes(16).toString('hex')}`;
}

/** The driver's `mkfs`: an empty image. */
export async function makeEmpty(path: string, format: string, sizeMb: number): Promise<void> {
  await run('qemu-img', ['create', '-q', '-f', format, path, `${sizeMb}M`]);
}
