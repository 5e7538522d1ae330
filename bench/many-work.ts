// What the processes do that the benchmark of many extents measures, besides those of the command itself.
import { open, writeFile } from 'node:fs/promises';
import { bundleTarget } from '../lib/bundle/location/destination.ts';
import { openFileSource } from '../lib/bundle/location/file-source.ts';
import { openBundle } from '../lib/bundle/read/reader.ts';
import { pickCompressor } from '../lib/bundle/write/compressor.ts';
import { parseCompression } from '../lib/config/compression.ts';
import { createLog } from '../lib/report/log.ts';
import { silent } from '../lib/report/progress.ts';
import { loadConfig } from '../lib/session/load-config.ts';
import { withRun } from '../lib/session/with-run.ts';
import { parseVm } from '../lib/vm/vm-xml.ts';
import { writeBundle } from '../lib/write-bundle.ts';
import { fileVm } from '../test/support/file-vm.ts';
import { fillWith, indexOf, manyReader, startOf, type ManyDisk } from './many-disk.ts';

const log = createLog({
  script: 'many-extents',
  debug: false,
  write: (line) => process.stderr.write(line),
});

/** Writes a bundle as an export does, but for the disk's reader. */
export async function exportDisk(disk: ManyDisk, bundle: string, compress: string): Promise<void> {
  const { xml } = await fileVm(`${bundle}.datastores`, 1, [{ id: 0, format: 'raw' }]);
  const vm = parseVm(Buffer.from(xml));
  const { signal } = new AbortController();
  const config = await loadConfig({ file: undefined, env: process.env });
  const setup = {
    config,
    log,
    signal,
    progress: silent,
    action: 'export',
    vmId: undefined,
  } as const;
  await withRun(setup, async (run) => {
    const started = new Date();
    const target = await bundleTarget(bundle, undefined, run, {
      vmId: vm.id,
      epoch: Math.floor(started.getTime() / 1000),
      compression: parseCompression(compress).method,
    });
    return writeBundle(
      target,
      {
        vm,
        started,
        codec: await pickCompressor(parseCompression(compress)),
        disks: [
          {
            id: 0,
            layout: { format: 'raw' },
            virtualSize: disk.virtualSize,
            open: () => Promise.resolve(manyReader(disk)),
          },
        ],
        images: new Map(),
        consistency: { level: 'offline', at: started.toISOString(), frozenMs: 0 },
      },
      run,
    );
  });
}

/**
 * Finds the region in the middle of the disk by the region table, decompresses only its frames, and writes it to `output`.
 * @throws Error when its hash or its content is not what it must be
 */
export async function restoreRegion(disk: ManyDisk, bundle: string, output: string): Promise<void> {
  const source = await openFileSource(bundle);
  const opened = await openBundle(source, { log });
  try {
    const [stored] = opened.disks;
    const table = await stored?.table?.();
    const content = table && (await stored?.region?.(Math.floor(table.count / 2)));
    if (!content) throw new Error('the bundle has no region table');
    await writeFile(output, content);
  } finally {
    await opened.close();
  }
  await requireRegion(disk, output);
}

/** @throws Error when a file is not the region in the middle of the disk */
async function requireRegion(disk: ManyDisk, path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const offset = Math.floor(Math.ceil(disk.virtualSize / size) / 2) * size;
    const expected = Buffer.alloc(size);
    for (let index = indexOf(disk, offset); index < indexOf(disk, offset + size); index++) {
      const from = startOf(disk, index) - offset;
      fillWith(disk, index, expected.subarray(from, from + disk.extentSize));
    }
    const found = Buffer.alloc(size);
    await file.read(found, 0, size, 0);
    if (!found.equals(expected)) throw new Error(`${path} is not that part of the disk`);
  } finally {
    await file.close();
  }
}
