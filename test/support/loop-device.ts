// Real block devices for tests: loop devices, where this machine lets us make one (root, and not in every container).
import { execFileSync, spawnSync } from 'node:child_process';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Whether loop devices can be made here. */
export const hasLoopDevices = ((): boolean => {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-loop-'));
  try {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    truncateSync(file, 65_536);
    const { status, stdout } = spawnSync('losetup', ['--find', '--show', file]);
    if (status === 0) spawnSync('losetup', ['--detach', stdout.toString().trim()]);
    return status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
})();

/** A device with the content of `file`, which is made if it is only a size in bytes, for as long as `body` runs. */
export async function withLoopDevice<T>(
  file: string,
  size: number,
  body: (device: string) => Promise<T>,
): Promise<T> {
  await writeFile(file, '', { flag: 'a' });
  await truncate(file, size);
  const device = execFileSync('losetup', ['--find', '--show', file]).toString().trim();
  try {
    return await body(device);
  } finally {
    execFileSync('losetup', ['--detach', device]);
    await rm(file);
  }
}
