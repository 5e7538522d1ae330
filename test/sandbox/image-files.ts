// What the fs datastore driver does with an image's file: check where it lies, copy or fetch it, unpack
// what looks packed, probe its format, convert. Read in downloader.sh, libfs.sh and fs/cp of 6.10.5.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readlink, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fetchBackup, isBackupUrl } from './backup-driver.ts';
import type { Datastore } from './datastores.ts';
import { download, fetchHead, isUrl } from './http-source.ts';
import { archives, decompressors, mimeType, probe, typeBytes, withTemporary } from './probe.ts';
import { run } from './run.ts';
import type { World } from './world.ts';

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

/** downloader.sh: copies or fetches, and unpacks what looks compressed. */
async function fetch(world: World, path: string, target: string): Promise<void> {
  let local = path;
  let type: string;
  if (isBackupUrl(path)) {
    local = `${target}.download`;
    type = await withTemporary(await fetchBackup(world, path, local), mimeType);
  } else if (isUrl(path)) {
    type = await withTemporary(await fetchHead(path, typeBytes, world.ending), mimeType);
    local = `${target}.download`;
    await download(path, local, world.ending);
  } else {
    type = await mimeType(path);
  }
  try {
    const decompressor = decompressors[type];
    if (decompressor) {
      world.unpacked.push({ path, type });
      const [program, ...args] = decompressor;
      const child = spawn(program, [...args, local], { stdio: ['ignore', 'pipe', 'ignore'] });
      await pipeline(child.stdout, createWriteStream(target), { signal: world.ending });
    } else {
      await run('cp', ['--sparse=always', '--', local, target], world.ending);
    }
  } finally {
    if (local !== path) await rm(local, { force: true });
  }
}

/** The driver's `cp`. @returns SOURCE and FORMAT. @throws Error with the driver's stderr. */
export async function copySource(
  world: World,
  datastore: Datastore,
  path: string,
  cdrom: boolean,
): Promise<{ source: string; format: string }> {
  if (!isUrl(path) && !isBackupUrl(path) && (await isRestricted(world, path))) {
    const dirs = `/var/lib/one/ /etc/one/ /var/lib/one/ ${world.settings.restrictedDirs}`;
    throw new Error(
      `ERROR: cp: Not allowed to copy images from ${dirs}\n` +
        `Not allowed to copy image from ${path}, check RESTRICTED_DIRS in your datastore`,
    );
  }
  const source = newSource(datastore);
  try {
    await fetch(world, path, source);
    const type = await mimeType(source);
    if (archives.includes(type)) {
      // It would be unpacked into a folder in the datastore, and then be no image any more.
      world.unpacked.push({ path, type });
      throw new Error(`ERROR: cp: Unknown image format src=${path}`);
    }
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
