// Makes a disk image with real files in it: those under /usr of this machine, in an ext4 file system.
import { cp, lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { sh } from '../test/support/shell.ts';

/** When so few bytes are left, no more files are looked for. */
const enough = 1024 * 1024;

/** Makes a sparse raw image of `virtualMiB` with about `dataMiB` of files. */
export async function makeFileSystem(
  image: string,
  { virtualMiB, dataMiB }: { readonly virtualMiB: number; readonly dataMiB: number },
): Promise<void> {
  const root = `${image}.files`;
  await mkdir(root, { recursive: true });
  let left = dataMiB * 1024 * 1024;
  // Where /usr has less than that, its files are copied once more.
  for (let copy = 1; left >= enough; copy++) {
    const before = left;
    for await (const file of files('/usr')) {
      const { size } = await lstat(file);
      if (size > left) continue;
      const target = join(root, String(copy), relative('/', file));
      await mkdir(dirname(target), { recursive: true });
      await cp(file, target);
      left -= size;
      if (left < enough) break;
    }
    if (left === before) break;
  }
  await sh('mke2fs', '-q', '-t', 'ext4', '-d', root, image, `${virtualMiB}M`);
  await rm(root, { recursive: true });
  // mke2fs has written zeros. They are made holes again, as by a guest's discard.
  await sh('fallocate', '--dig-holes', image);
}

async function* files(folder: string): AsyncGenerator<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.isFile()) yield path;
  }
}
