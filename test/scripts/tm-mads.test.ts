import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemTmMads } from '../../lib/storage/registry.ts';

const root = join(import.meta.dirname, '../..');

test('the built list of TM drivers, which install.sh reads, has those whose disks can be dumped', () => {
  const list = readFileSync(join(root, 'dist/drivers/tm-mads'), 'utf8');
  expect(list.trimEnd().split('\n')).toEqual(systemTmMads);
  expect(systemTmMads).toEqual([
    'ssh',
    'local',
    'shared',
    'qcow2',
    'fs_lvm',
    'fs_lvm_ssh',
    'lvm',
    'ceph',
  ]);
});
