// What --salvage is for: bundles that cannot be read further, and nothing else that is wrong with one.
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { openBundle } from '../../lib/bundle/reader.ts';
import { archive, memorySource, tarMember, vmXml } from './read-support.ts';
import { noLog } from './write-support.ts';

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
    'whole (disk 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more): onevmdump restore or extract gets it with --salvage',
  );
  const salvaged = await open(bytes, true);
  expect(salvaged.disks).toHaveLength(14);
  expect(salvaged.cut).toContain('ends early');
  await salvaged.close();
});
