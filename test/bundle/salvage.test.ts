// What --salvage is for: bundles that cannot be read further, and nothing else that is wrong with one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from '@jest/globals';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { trailerSize } from '../../lib/bundle/format/trailer.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { archive, memorySource, tarMember, vmXml } from '../support/read-bundle.ts';
import { makeDisk, noLog, testFolder, writeBundle } from '../support/write-bundle.ts';

const folder = testFolder();
let written = 0;
afterAll(folder.remove);

const xml = tarMember({ path: './vm.xml', data: vmXml });
const disk = (id: number) =>
  tarMember({ path: `./backup.disk.${id}`, data: Buffer.alloc(1024, id + 1) });
const manifest = (text: string) => tarMember({ path: './manifest.json', data: Buffer.from(text) });

async function open(bytes: Buffer, salvage: boolean) {
  const { source } = memorySource(bytes);
  return openBundle(source, { log: noLog, salvage });
}

test.each([
  ['a disk occurs twice', [xml, disk(0), disk(1), disk(0)], 'disk 0: occurs twice'],
  [
    'its manifest is of a greater version',
    [xml, disk(0), manifest('{"format":"onevmdump","version":99}')],
    'manifest.json',
  ],
  ['its manifest is no JSON', [xml, disk(0), manifest('{')], 'manifest.json'],
])('a bundle is refused with --salvage as without when %s', async (_, members, message) => {
  const bytes = gzipSync(archive(...members));
  for (const salvage of [false, true]) {
    const error: unknown = await open(bytes, salvage).catch((reason: unknown) => reason);
    const text = String(error);
    expect(text).toMatch(/^BundleError: /);
    expect(text).toContain(message);
    expect(text).not.toMatch(/salvage|whole/);
  }
});

test('a bundle that ends early is refused, ten of its whole disks are named, and all are salvaged', async () => {
  const members = Array.from({ length: 14 }, (_, id) => disk(id));
  const tar = archive(xml, ...members, disk(14));
  const bytes = gzipSync(tar.subarray(0, tar.indexOf('./backup.disk.14') + 700));
  await expect(open(bytes, false)).rejects.toThrow(
    'whole (disk 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more): get it with onevmdump restore --salvage or extract --salvage',
  );
  const salvaged = await open(bytes, true);
  expect(salvaged.disks).toHaveLength(14);
  expect(salvaged.cut).toContain('ends early');
  await salvaged.close();
});

/** A bundle with one small disk. */
async function writeOne(method: 'gzip' | 'zstd' | 'none', format: 'raw' | 'qcow2') {
  const path = join(folder.path, `bundle-${written++}`);
  const extents = [{ offset: 0, length: 65536 }];
  await makeDisk(`${path}.disk`, 1 << 20, extents);
  const layout = format === 'raw' ? ({ format } as const) : { format, clusterSize: 65536 };
  await writeBundle(path, await pickCompressor({ method }), [
    { path: `${path}.disk`, virtualSize: 1 << 20, extents, layout },
  ]);
  return readFileSync(path);
}

/** Opens it without --salvage and reads its disk, whose SHA-256 is compared. @returns the warnings */
async function readWhole(bytes: Buffer): Promise<readonly string[]> {
  const warnings: string[] = [];
  const { source } = memorySource(bytes);
  const bundle = await openBundle(source, {
    log: { ...noLog, warn: (text) => void warnings.push(text) },
  });
  expect(bundle.cut).toBeUndefined();
  expect(bundle.manifest?.disks).toHaveLength(1);
  let read = 0;
  for await (const { data } of bundle.disks[0]!.pieces()) read += data.length;
  expect(read).toBe(65536);
  await bundle.close();
  return warnings;
}

test.each(['gzip', 'zstd', 'none'] as const)(
  'a bundle (%s) that lost a part of its index is read whole, with a warning',
  async (method) => {
    const bytes = await writeOne(method, 'raw');
    const size = trailerSize(method);
    for (let lost = 1; lost < size; lost += method === 'none' ? 73 : 3) {
      const warnings = await readWhole(bytes.subarray(0, bytes.length - lost));
      expect(warnings).toEqual([expect.stringContaining('the index at the end of the bundle')]);
    }
    expect(await readWhole(bytes.subarray(0, bytes.length - size))).toEqual([]);
  },
);

test('an uncompressed bundle whose index is damaged is read whole, with a warning', async () => {
  const bytes = await writeOne('none', 'raw');
  bytes.writeUInt8(1, bytes.length - 500);
  expect(await readWhole(bytes)).toHaveLength(1);
});

test.each(['gzip', 'zstd'] as const)(
  'a bundle (%s) whose checksum of the manifest is cut off with the index is not taken for whole',
  async (method) => {
    const bytes = await writeOne(method, 'raw');
    const { source } = memorySource(bytes.subarray(0, bytes.length - trailerSize(method) - 2));
    await expect(openBundle(source, { log: noLog })).rejects.toThrow('restore --salvage');
  },
);

test.each(['raw', 'qcow2'] as const)(
  'an uncompressed bundle of a %s disk whose end is overwritten with zeros has lost its end',
  async (format) => {
    const bytes = await writeOne('none', format);
    bytes.fill(0, bytes.indexOf('./manifest.json\0'));
    await expect(open(bytes, false)).rejects.toThrow(
      'the manifest that onevmdump writes is missing; what comes before that is whole (disk 0)',
    );
    const salvaged = await open(bytes, true);
    expect(salvaged.cut).toContain('manifest');
    await salvaged.close();
  },
);
