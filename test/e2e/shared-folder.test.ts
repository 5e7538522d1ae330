// Folders that hosts share with their guests (virtiofs, an image of TYPE FILESYSTEM, OpenNebula 7.2 and newer): they are
// not disks, so a bundle refers to them.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sh } from '../support/shell.ts';
import { makeWorld, type World } from '../support/world.ts';

let world: World;
let bundle: string;
let folder: number;
let oldVm: number;

beforeAll(async () => {
  world = await makeWorld();
  const file = join(world.folder, 'image.raw');
  await sh('truncate', '-s', '2M', file);
  const shared = join(world.folder, 'shared');
  await mkdir(shared);
  const { sandbox } = world;
  const disk = await sandbox.makeImage({ name: 'disk', file, datastore: 1, format: 'raw' });
  folder = await sandbox.makeImage({
    ...{ name: 'project files', file: shared, datastore: 1, format: 'dir', type: 'FILESYSTEM' },
    persistent: true,
  });
  oldVm = await sandbox.makeVm({
    template: `CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=${disk}]\nDISK=[IMAGE_ID=${folder},MOUNT_TAG="files",MOUNT_POINT="/srv"]`,
    name: 'old',
    state: 'poweroff',
  });
  bundle = join(world.folder, 'bundle.tar.gz');
  const { code, stderr } = await world.run(['export', String(oldVm), '-d', bundle]);
  expect(code).toBe(0);
  expect(stderr).toContain('disk 1 of VM 0 is left out: it is a folder'.replace('0', `${oldVm}`));
});
afterAll(() => world.close());

/** The DISKs of the restored template, and what was said. */
async function restored(
  ...args: string[]
): Promise<{ readonly disks: readonly object[]; readonly said: string }> {
  const { code, stdout, stderr } = await world.run(['restore', bundle, '--json', ...args]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const { templateId } = JSON.parse(stdout) as { readonly templateId: number };
  const { template } = world.sandbox.world.templates.get(templateId)!;
  const disks = template.vectors('DISK').map((disk) => Object.fromEntries([...disk]));
  return { disks, said: stderr };
}

const reference = () => ({
  ...{ IMAGE_ID: String(folder), MOUNT_POINT: '/srv', MOUNT_TAG: 'files' },
});

describe('a folder that the host shared with the VM', () => {
  test('a folder that the host shared with the VM is referred to by the restored template', async () => {
    const { disks, said } = await restored('-n', 'refers');
    expect(disks[1]).toEqual(reference());
    expect(said).toContain(
      `disk 1: the image ${folder} of the folder that hosts share with the VM still exists and is used again; its files are not in the bundle`,
    );
  });

  test('a folder that the host shared with the VM is left out of a new VM while the old VM has it for itself, with what to add by hand', async () => {
    const { disks, said } = await restored('-n', 'taken', '--instantiate');
    expect(disks).toHaveLength(1);
    expect(said).toContain(
      `disk 1: it was the folder ${join(world.folder, 'shared')} that the VM's host shared with it (FILESYSTEM), and its image project files cannot be used: the template is restored without it. To share a folder again, register it as an image of TYPE FILESYSTEM, and add to the template: DISK = [ IMAGE_ID = <id>, MOUNT_TAG = "files", MOUNT_POINT = "/srv" ]`,
    );
  });

  test('a folder that the host shared with the VM is in a new VM when several VMs may have it', async () => {
    const { template } = world.sandbox.world.images.get(folder)!;
    template.replace('PERSISTENT_TYPE', 'SHAREABLE');
    const { disks } = await restored('-n', 'shares', '--instantiate');
    expect(disks[1]).toEqual(reference());
    template.erase('PERSISTENT_TYPE');
  });

  test.each([
    ['another name', { name: 'something else' }],
    ['another folder', { source: '/srv/other' }],
    ['another type', { type: 'DATABLOCK' as const }],
  ])(
    'a folder that the host shared with the VM is left out when its image has %s now',
    async (what, change) => {
      const image = world.sandbox.world.images.get(folder)!;
      const was = { name: image.name, source: image.source, type: image.type };
      Object.assign(image, change);
      const { disks } = await restored('-n', what);
      Object.assign(image, was);
      expect(disks).toHaveLength(1);
    },
  );
});
