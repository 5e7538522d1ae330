// From which folders an image datastore takes files.
import { describe, expect, test } from '@jest/globals';
import type { Datastore } from '../../lib/one/datastores.ts';
import { requireSafeFolder } from '../../lib/restore/safe-folder.ts';

const datastore: Datastore = {
  ...{
    id: 1,
    name: 'default',
    type: 'IMAGE',
    takesImages: true,
    copiesImages: true,
    downloadsImages: true,
    dsMad: 'fs',
    tmMad: 'qcow2',
  },
  ...{ basePath: '/var/lib/one//datastores/1', freeMb: 1 },
  safeDirs: ['/var/tmp', '/root/images/'],
  restrictedDirs: ['/'],
};

describe('the folder from which images are registered', () => {
  test.each(['/var/tmp', '/var/tmp/onevmdump-1', '/root/images/a'])(
    'the folder %s in SAFE_DIRS is taken although its parent is restricted',
    (folder) => {
      expect(() => requireSafeFolder(datastore, folder)).not.toThrow();
    },
  );

  test.each(['/var/tmpfiles', '/var', '/root/images-of-others', '/home/one'])(
    'the folder %s outside of SAFE_DIRS is refused where everything is restricted, and the message names SAFE_DIRS',
    (folder) => {
      const named = 'its SAFE_DIRS (/var/tmp /root/images/) with --staging-dir';
      expect(() => requireSafeFolder(datastore, folder)).toThrow(`from ${folder}; `);
      expect(() => requireSafeFolder(datastore, folder)).toThrow(named);
    },
  );

  test('a folder that is in no restricted folder is taken without being in SAFE_DIRS', () => {
    const some = { ...datastore, safeDirs: [], restrictedDirs: ['/etc', '/root/'] };
    expect(() => requireSafeFolder(some, '/srv')).not.toThrow();
    expect(() => requireSafeFolder(some, '/etcetera')).not.toThrow();
    expect(() => requireSafeFolder(some, '/root/x')).toThrow('SAFE_DIRS (none)');
  });
});
