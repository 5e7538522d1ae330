// From a real NBD server into a bundle: the reader's memory goes round between the two.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { createFileSink } from '../../lib/bundle/location/file-sink.ts';
import { partName } from '../../lib/vm/names.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { openNbdReader } from '../../lib/read/nbd-reader.ts';
import { silent } from '../../lib/report/progress.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { aboutOf, makeDisk, noLog, testFolder, tool } from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);
const MiB = 1 << 20;

test('a disk served by qemu-nbd comes out of the bundle identical, with its holes', async () => {
  const disk = join(folder.path, 'disk');
  const socketPath = join(folder.path, 'nbd.sock');
  await makeDisk(disk, 200 * MiB, [
    { offset: 0, length: 50 * MiB },
    { offset: 60 * MiB + 8192, length: 12 * 1024 },
    { offset: 100 * MiB + 4096, length: 37 * MiB },
  ]);
  const server = spawn('qemu-nbd', ['-r', '-f', 'raw', '-x', 'disk', '-k', socketPath, disk]);
  try {
    while (!existsSync(socketPath)) await new Promise((resolve) => setTimeout(resolve, 20));
    const options = { socketPath, exportName: 'disk', label: 'disk', log: noLog };
    const reader = await openNbdReader({ ...options, signal: undefined });
    const sink = await createFileSink(
      join(folder.path, 'bundle.tar.gz'),
      partName(join(folder.path, 'bundle.tar.gz')),
    );
    const codec = await pickCompressor({ method: 'gzip' });
    const writer = new BundleWriter(sink, codec, { created: new Date(), log: noLog });
    await writer.addFile('./vm.xml', Buffer.from('<VM/>'));
    const about = aboutOf([{ id: 3, format: 'raw', virtualSize: reader.virtualSize }]);
    await writer.addAbout(about);
    const written = await writer.addDisk({ id: 3, format: 'raw' }, reader, silent.begin('', 0));
    await reader.close();
    await writer.finish([{ ...about.disks[0]!, ...written }]);
    await sink.commit();
    expect(written.dataBytes).toBe(87 * MiB + 12 * 1024);
    execFileSync('tar', ['-xzf', sink.name, '-C', folder.path, './backup.disk.3']);
    tool('cmp', disk, join(folder.path, 'backup.disk.3'));
  } finally {
    server.kill();
    if (server.exitCode === null) await once(server, 'exit');
  }
});
