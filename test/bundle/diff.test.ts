// onevmdump diff: which regions of which disks differ, whatever the storage format and the holes.
import { copyFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { diffBundles } from '../../lib/bundle/read/diff.ts';
import { MiB, oldFolder, withBundle } from '../support/read-bundle.ts';
import { runToEnd } from '../support/shell.ts';
import { makeDisk, testFolder, tool, writeBundle, type TestDisk } from '../support/write-bundle.ts';

const command = new URL('../../dist/bin/onevmdump', import.meta.url).pathname;
const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

const size = 20 * MiB;
const data = [
  { offset: 0, length: 3 * MiB },
  { offset: 8 * MiB, length: 4 * MiB },
];
const whole = [{ offset: 0, length: size }];
const disk = (path: string, more: Partial<TestDisk> = {}): TestDisk => ({
  path: at(path),
  virtualSize: size,
  extents: data,
  layout: { format: 'raw' },
  ...more,
});

async function write(name: string, disks: readonly TestDisk[], method: 'gzip' | 'none' = 'none') {
  await writeBundle(at(name), await pickCompressor({ method }), disks);
}

const diff = (one: string, other: string) =>
  withBundle(at(one), (first) => withBundle(at(other), (second) => diffBundles(first, second)));

beforeAll(async () => {
  await makeDisk(at('disk'), size, data);
  await write('one', [disk('disk')]);
});

test('two bundles of the same content are the same, raw or qcow2, with holes or with zeros', async () => {
  await write('qcow2', [disk('disk', { layout: { format: 'qcow2', clusterSize: 65536 } })], 'gzip');
  await write('thick', [disk('disk', { extents: whole })]);
  for (const other of ['one', 'qcow2', 'thick']) {
    expect(await diff('one', other)).toEqual([
      expect.objectContaining({ id: 0, in: 'both', differentRegions: 0, regions: 20, ranges: [] }),
    ]);
  }
});

test('the regions that differ are named, neighbours together', async () => {
  copyFileSync(at('disk'), at('changed'));
  const file = await open(at('changed'), 'r+');
  await file.write(Buffer.from('x'), 0, 1, MiB - 1);
  await file.write(Buffer.from('x'), 0, 1, MiB);
  await file.write(Buffer.from('x'), 0, 1, 9 * MiB + 77);
  await file.close();
  await write('changed-bundle', [disk('changed')]);
  expect(await diff('one', 'changed-bundle')).toEqual([
    expect.objectContaining({
      differentRegions: 3,
      ranges: [
        { offset: 0, length: 2 * MiB },
        { offset: 9 * MiB, length: MiB },
      ],
    }),
  ]);
  const { code, stdout } = await runToEnd(command, ['diff', at('one'), at('changed-bundle')]);
  expect(code).toBe(0);
  expect(stdout).toBe(
    'disk 0: 3 of 20 regions of 1.0 MiB differ\n  2.0 MiB at byte 0\n  1.0 MiB at byte 9437184\n',
  );
  const json = await runToEnd(command, ['diff', '--json', at('one'), at('changed-bundle')]);
  expect(JSON.parse(json.stdout)).toMatchObject({ same: false, disks: [{ id: 0 }] });
});

test('a disk that has grown differs in its size, and elsewhere only where it has data', async () => {
  await makeDisk(at('grown'), size + 4 * MiB, data);
  await write('grown-bundle', [disk('grown', { virtualSize: size + 4 * MiB })]);
  expect(await diff('one', 'grown-bundle')).toEqual([
    expect.objectContaining({
      virtualSizes: [size, size + 4 * MiB],
      differentRegions: 0,
      regions: 24,
    }),
  ]);
  const json = await runToEnd(command, ['diff', '--json', at('one'), at('grown-bundle')]);
  expect(JSON.parse(json.stdout)).toMatchObject({ same: false });
});

test('a disk that only one bundle has is named', async () => {
  await write('two', [disk('disk'), disk('disk')]);
  expect(await diff('one', 'two')).toMatchObject([{ in: 'both' }, { id: 1, in: 'second' }]);
  const { stdout } = await runToEnd(command, ['diff', at('two'), at('one')]);
  expect(stdout).toBe('disk 0: the same\ndisk 1: only in the first bundle\n');
});

test('a bundle without index is refused in plain words', async () => {
  tool('tar', '-czSf', at('old.tar.gz'), '-C', await oldFolder(at('old')), '.');
  const { code, stderr } = await runToEnd(command, ['diff', at('one'), at('old.tar.gz')]);
  expect(code).toBe(5);
  expect(stderr).toContain('old.tar.gz has no index, and so no region tables');
});
