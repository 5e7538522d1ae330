import { appendFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openFileSource } from '../../lib/bundle/location/file-source.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { memorySource, MiB, openPath } from '../support/read-bundle.ts';
import { makeDisk, noLog, noise, testFolder, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

describe('a file as the source of a bundle', () => {
  test('a file as the source of a bundle gives bytes from any place, fewer at its end', async () => {
    const bytes = noise(10_000);
    writeFileSync(at('file'), bytes);
    const source = await openFileSource(at('file'));
    expect(source.size).toBe(10_000);
    expect(await source.read(0, 4)).toEqual(bytes.subarray(0, 4));
    expect(await source.read(9_990, 100)).toEqual(bytes.subarray(9_990));
    expect(await source.read(10_000, 100)).toEqual(Buffer.alloc(0));
    await source.close();
  });

  test('a file as the source of a bundle knows when it was modified', async () => {
    writeFileSync(at('file'), 'x');
    const source = await openFileSource(at('file'));
    expect(Math.abs(source.modified.getTime() - Date.now())).toBeLessThan(60_000);
    await source.close();
  });
});

describe.each(['gzip', 'zstd', 'none'] as const)('while a bundle with %s is read', (method) => {
  const path = at(`bundle.${method}`);
  const extents = [{ offset: 0, length: 20 * MiB }];
  beforeAll(async () => {
    await makeDisk(at('disk'), 20 * MiB, extents);
    await writeBundle(path, await pickCompressor({ method }), [
      { path: at('disk'), virtualSize: 20 * MiB, extents, layout: { format: 'raw' } },
    ]);
  });

  test(`while a bundle with ${method} is read, an error of its source is reported as it is`, async () => {
    const { source } = memorySource(readFileSync(path));
    const broken = new FailedError('cannot read bundle: I/O error');
    const read = source.read.bind(source);
    let fail = false;
    const flaky = {
      ...source,
      read: (offset: number, length: number) =>
        fail && offset > 5 * MiB ? Promise.reject(broken) : read(offset, length),
    };
    const { disks } = await openBundle(flaky, { log: noLog });
    fail = true;
    await expect(readThrough(disks[0]!.pieces())).rejects.toBe(broken);
  });

  test(`while a bundle with ${method} is read, a cut of the file is reported as damage`, async () => {
    mkdirSync(at('cut'), { recursive: true });
    const copy = at(`cut/${method}`);
    writeFileSync(copy, readFileSync(path));
    const bundle = await openPath(copy);
    // The region table is read with the first pass, and kept.
    await readThrough(bundle.disks[0]!.pieces());
    truncateSync(copy, 3 * MiB);
    await expect(readThrough(bundle.disks[0]!.pieces())).rejects.toThrow(
      /disk 0, frame 1 at byte \d+: .*file ends/,
    );
    await bundle.close();
  });

  test(`while a bundle with ${method} is read, the file may grow: it is read as it was`, async () => {
    const copy = at(`grown.${method}`);
    writeFileSync(copy, readFileSync(path));
    const bundle = await openPath(copy);
    appendFileSync(copy, noise(1000));
    await expect(readThrough(bundle.disks[0]!.pieces())).resolves.toBe(20 * MiB);
    await bundle.close();
  });
});

test('a zstd bundle on a machine without zstd says what is missing', async () => {
  const before = process.env['PATH'];
  process.env['PATH'] = at('nowhere');
  try {
    await expect(openPath(at('bundle.zstd'))).rejects.toMatchObject({
      name: 'CommandError',
      message: 'cannot decompress the bundle: zstd: is not installed',
    });
  } finally {
    process.env['PATH'] = before;
  }
});

async function readThrough(pieces: AsyncIterable<{ data: Uint8Array }>): Promise<number> {
  let total = 0;
  for await (const { data } of pieces) total += data.length;
  return total;
}
