// What `prebackup` has noted of a snapshot is read back from a file by `backup`: each module takes its own alone.
import { describe, expect, test } from '@jest/globals';
import { cephStorage } from '../../lib/storage/ceph/ceph.ts';
import { fileSource } from '../../lib/storage/file/source.ts';
import { fileStorage } from '../../lib/storage/file/file.ts';
import { openServedDisk } from '../../lib/storage/job/served-disk.ts';
import { jobSource } from '../../lib/storage/job/source.ts';
import { lvmStorage } from '../../lib/storage/lvm/lvm.ts';
import { sourceOf, type Snapshot } from '../../lib/storage/storage.ts';
import { disk, inWorld, vm } from '../support/storage-world.ts';

const snapshot = (source: unknown): Snapshot => ({
  plan: { vm: vm([disk(0)]), disk: disk(0), format: 'raw' },
  layout: { format: 'raw' },
  virtualSize: 1,
  source,
});
const layer = { driver: 'raw', path: '/ds/1/base' };

describe('what was noted of a snapshot', () => {
  test.each([
    {
      ...{ virtualSize: 1, stamps: { '/ds/0/7/disk.0': '1 2' } },
      node: { driver: 'qcow2', path: '/ds/0/7/disk.0', backing: layer },
    },
    {
      virtualSize: 1,
      stamps: {},
      node: { driver: 'qcow2', path: '/x', backing: null },
    },
  ])('of a file is read back as it was: $node', (source) => {
    const read = JSON.parse(JSON.stringify(source)) as unknown;
    expect(sourceOf(fileSource, snapshot(read))).toEqual(source);
  });

  test('of a disk that a backup job serves is read back as it was', () => {
    const watch = { name: 'onevmdump-space-x', lowWaterMark: 1 };
    const served = { exportName: 'vda', virtualSize: 513 };
    const source = { socket: '/s', ...served, description: '/d.xml', watch };
    const read = JSON.parse(JSON.stringify(source)) as unknown;
    expect(sourceOf(jobSource, snapshot(read))).toEqual(source);
  });

  test.each([
    [
      'file',
      fileStorage,
      { virtualSize: 1, stamps: {}, node: { driver: 'vmdk' } },
      'node.driver is not raw or qcow2',
    ],
    ['file', fileStorage, { url: 'http://x' }, 'node is not an object'],
    [
      'served disk',
      { open: openServedDisk },
      { socket: '/s', exportName: 'vda' },
      'virtualSize is',
    ],
    ['volume', lvmStorage, { group: 'vg', name: 7, virtualSize: 1 }, 'name is not a text'],
    ['RBD image', cephStorage, { image: 'one/a', virtualSize: 1 }, 'access is not an object'],
    ['RBD image', cephStorage, null, 'the whole is not an object'],
  ])('of a %s is not opened when it is something else', async (_, module, source, why) =>
    inWorld(async ({ run, commands }) => {
      const opening = async (): Promise<unknown> => await module.open(snapshot(source), run);
      await expect(opening()).rejects.toThrow(
        `what is known of disk 0 of VM 7 is not usable: ${why}`,
      );
      expect(commands).toEqual([]);
    }),
  );
});
