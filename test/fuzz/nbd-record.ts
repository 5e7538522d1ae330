// Records what real NBD servers answer to the reader, into test/fuzz/nbd: run by hand when the reader asks otherwise.
//   npm run fuzz -- --record-nbd
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inFolder, reading, wholeDisk, withNbdkit, withQemuNbd } from '../support/nbd-servers.ts';
import { fuzzFolder } from './folder.ts';
import { recordServer } from './nbd-replay.ts';

const kib = 1024;

export async function recordNbd(): Promise<void> {
  mkdirSync(join(fuzzFolder, 'nbd'), { recursive: true });
  await inFolder(async (folder) => {
    const [raw, image] = [join(folder, 'raw'), join(folder, 'image')];
    const disk = Buffer.alloc(24 * kib);
    disk.fill('data', 8 * kib, 12 * kib).fill('more', 20 * kib, 21 * kib);
    writeFileSync(raw, disk);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=4k', raw, image]); // prettier-ignore
    const record = (name: string) => async (socket: string) => {
      const path = join(folder, name);
      const stop = await recordServer(path, socket);
      await reading(path, wholeDisk);
      writeFileSync(join(fuzzFolder, 'nbd', `${name}.recording`), stop());
    };
    await withQemuNbd(['-f', 'qcow2', image], record('qemu-nbd'));
    await withQemuNbd(['-f', 'raw', raw], record('qemu-nbd-raw'));
    await withNbdkit(['file', raw], record('nbdkit'));
    await withNbdkit(['--no-sr', 'file', raw], record('nbdkit-simple'));
  });
}
