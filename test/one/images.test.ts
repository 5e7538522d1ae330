import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { toImage } from '../../lib/one/image-xml.ts';
import {
  allocateImage,
  deleteImage,
  findDiskImage,
  findImageFrom,
  getImage,
  imageNames,
  imagesAt,
  skipCapacityFlag,
  type NewImage,
} from '../../lib/one/images.ts';
import { waitForImage } from '../../lib/one/image-wait.ts';
import { InterruptedError, UsageError } from '../../lib/report/errors.ts';
import { openWorld, type World } from './with-sandbox.ts';
import { limits } from '../support/limits.ts';

let world: World;
let file: string;
beforeAll(async () => {
  world = await openWorld();
  mkdirSync(join(world.folder, 'safe'));
  file = join(world.folder, 'safe/disk.0');
  writeFileSync(file, Buffer.alloc(1024 * 1024, 7));
});
afterAll(() => world.close());

let number = 0;
const newImage = (changes: Partial<NewImage> = {}): NewImage => ({
  name: `image-${++number}`,
  path: file,
  type: 'DATABLOCK',
  persistent: false,
  devPrefix: undefined,
  description: undefined,
  attributes: {},
  capacityFlag: undefined,
  ...changes,
});
const now = { waitMs: 0 };
const fast = { timeoutMs: limits.answerMs, pollMs: 20 };

describe('an image as oned shows it', () => {
  const fixture = (name: string) =>
    toImage(parseXml(readFileSync(join(import.meta.dirname, '../fixtures/xmlrpc', name)), 'it'));

  test('the XML of a CD-ROM in use is read as oned shows it', () => {
    expect(fixture('image-9.xml')).toEqual({
      id: 9,
      state: 'USED',
      usable: true,
      error: undefined,
      path: '/var/tmp/one-img/cd.iso',
      source: '/var/lib/one//datastores/101/9cb8483b694e10a1cd89c3e0fdca8b49',
      sizeMb: 21,
      facts: {
        id: 9,
        name: 'cdq',
        uname: 'oneadmin',
        type: 'CDROM',
        persistent: false,
        datastoreId: 101,
        datastore: 'images_qcow2',
        devPrefix: 'sd',
        format: 'raw',
      },
    });
  });

  test('the XML of a persistent image is read as oned shows it', () => {
    expect(fixture('image-10.xml').facts).toMatchObject({ type: 'DATABLOCK', persistent: true });
  });

  test('the XML of a backup is not read as a disk', () => {
    expect(() => fixture('image-26-backup-probe.xml')).toThrow("is not a disk's image");
  });
});

describe('registering', () => {
  test('registering an image gives oned every value as it is', async () => {
    const odd = `it's "odd" <b> & \\n $(id) \r\n ü😀 `;
    const id = await allocateImage(
      world.one,
      1,
      newImage({
        name: 'odd image',
        type: 'OS',
        persistent: true,
        devPrefix: 'vd',
        description: odd,
        attributes: { LABELS: 'a,b', EMPTY: '' },
      }),
    );
    const image = await waitForImage(world.one, id, fast);
    expect(image.facts).toMatchObject({
      id,
      name: 'odd image',
      type: 'OS',
      persistent: true,
      datastoreId: 1,
      devPrefix: 'vd',
      // oned keeps the carriage return, and its answer's XML makes it a line end.
      description: odd.replace('\r\n', '\n'),
      attributes: { LABELS: 'a,b' },
    });
    expect(image).toMatchObject({ state: 'READY', usable: true, path: file });
    expect(readFileSync(image.source).equals(readFileSync(file))).toBe(true);
  });

  test('registering an image sends nothing that oned would act on, whatever a bundle says', async () => {
    await allocateImage(
      world.one,
      1,
      newImage({
        attributes: {
          SOURCE: '/etc/shadow',
          from_app: '3',
          Path: '/etc/passwd',
          MD5: '0',
          OK: '1',
        },
      }),
    );
    const [template] = world.sandbox.calls.findLast(({ method }) => method === 'one.image.allocate')
      ?.args ?? [''];
    expect(String(template)).toContain('<OK><![CDATA[1]]></OK>');
    expect(String(template)).not.toMatch(/SOURCE|FROM_APP|from_app|Path|MD5|etc/);
  });

  test('registering an image refuses what cannot be sent before oned is called', async () => {
    const before = world.sandbox.calls.length;
    const allocating = allocateImage(world.one, 1, newImage({ description: 'a]]>b' }));
    await expect(allocating).rejects.toThrow('TEMPLATE/DESCRIPTION holds "]]>"');
    await expect(allocateImage(world.one, 1, newImage({ path: '' }))).rejects.toThrow(UsageError);
    const named = newImage({ attributes: { 'A B': 'x' } });
    await expect(allocateImage(world.one, 1, named)).rejects.toThrow('"A B" is not a name');
    expect(world.sandbox.calls.length).toBe(before);
  });

  test('registering an image with a taken name or in a system datastore is refused by oned at once', async () => {
    const image = newImage();
    await allocateImage(world.one, 1, image);
    await expect(allocateImage(world.one, 1, image)).rejects.toThrow('NAME is already taken');
    await expect(allocateImage(world.one, 0, newImage())).rejects.toMatchObject({ oneCode: 16384 });
  });
});

describe('waiting', () => {
  test('waiting for an image tells of each state once and ends at READY', async () => {
    world.sandbox.imageCopyMs = 150;
    const states: unknown[] = [];
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, { ...fast, onState: (state) => states.push(state) });
    world.sandbox.imageCopyMs = 50;
    expect(states).toEqual(['LOCKED', 'READY']);
  });

  test('waiting for an image ends when it is in state ERROR, with the words of oned', async () => {
    const outside = join(world.folder, 'outside');
    writeFileSync(outside, Buffer.alloc(1024 * 1024));
    const image = newImage({ path: outside });
    const id = await allocateImage(world.one, 1, image);
    const error = (await getImageError(id)) ?? 'none';
    expect(error).toMatch(/[Nn]ot allowed to copy/);
    await expect(waitForImage(world.one, id, fast)).rejects.toThrow(
      `OpenNebula could not take over image ${id} (${image.name}): ${error}`,
    );
  });

  test('waiting for an image that takes too long ends with an error', async () => {
    world.sandbox.imageCopyMs = 2000;
    const id = await allocateImage(world.one, 1, newImage());
    const waiting = waitForImage(world.one, id, { timeoutMs: 100, pollMs: 20 });
    await expect(waiting).rejects.toThrow(
      `image ${id} is not READY after 0.1 s; its state is LOCKED`,
    );
    world.sandbox.imageCopyMs = 50;
  });

  test('waiting for an image has no limit when the limit is 0, and an interruption ends it', async () => {
    world.sandbox.imageCopyMs = 2000;
    const controller = new AbortController();
    const id = await allocateImage(world.one, 1, newImage());
    const waiting = waitForImage(world.one, id, {
      timeoutMs: 0,
      pollMs: 10_000,
      signal: controller.signal,
      onState: () => setTimeout(() => controller.abort(new InterruptedError('SIGTERM')), 50),
    });
    await expect(waiting).rejects.toThrow(InterruptedError);
    world.sandbox.imageCopyMs = 50;
  });

  test('waiting for an image that was deleted meanwhile ends with an error', async () => {
    await expect(waitForImage(world.one, 9999, fast)).rejects.toMatchObject({ oneCode: 1024 });
  });

  test('waiting for an image goes on when some polls get no answer, as when oned is restarted', async () => {
    const id = await allocateImage(world.one, 1, newImage());
    for (const how of ['reset', 'http-500', 'not-xml', 'truncated'] as const) {
      world.sandbox.spoilNext('one.image.info', how);
    }
    expect((await waitForImage(world.one, id, fast)).state).toBe('READY');
  });
});

async function getImageError(id: number): Promise<string | undefined> {
  await world.sandbox.settle();
  return (await getImage(world.one, id)).error;
}

describe('finding and deleting', () => {
  test('the names of a user’s images are theirs alone', async () => {
    const id = await allocateImage(world.one, 1, newImage({ name: 'mine' }));
    expect((await imageNames(world.one)).get('mine')).toBe(id);
    const bob = await world.as(await world.sandbox.addUser('bob'));
    expect((await imageNames(bob)).get('mine')).toBeUndefined();
    expect((await imageNames(world.one, 0)).get('mine')).toBe(id);
  });

  test('an image is found by the path it was registered from', async () => {
    const other = join(world.folder, 'safe/other');
    writeFileSync(other, Buffer.alloc(1024 * 1024));
    const id = await allocateImage(world.one, 1, newImage({ path: other }));
    expect(await findImageFrom(world.one, other)).toEqual({ id, path: other });
    expect(await findImageFrom(world.one, `${other}2`)).toBeUndefined();
  });

  test('images are found by the places where they lie', async () => {
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, fast);
    const { source } = await getImage(world.one, id);
    expect(await imagesAt(world.one, [source, '/nowhere'])).toEqual(new Map([[source, id]]));
    expect(await imagesAt(world.one, [])).toEqual(new Map());
  });

  test('an image that is missing, or of another kind than disks, is not found as a disk’s image', async () => {
    expect(await findDiskImage(world.one, 9999)).toBeUndefined();
    const id = await allocateImage(world.one, 1, newImage());
    expect((await findDiskImage(world.one, id))?.id).toBe(id);
    world.sandbox.world.images.get(id)!.type = 'KERNEL';
    expect(await findDiskImage(world.one, id)).toBeUndefined();
  });

  test('a deleted image is gone, and deleting it again succeeds', async () => {
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, fast);
    await deleteImage(world.one, id, now);
    await world.sandbox.settle();
    await expect(getImage(world.one, id)).rejects.toMatchObject({ oneCode: 1024 });
    await deleteImage(world.one, id, now);
  });

  test('the refusal of oned to delete an image is an error', async () => {
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, fast);
    world.sandbox.failNext('one.image.delete', 2048, 'There are 3 VMs using it.');
    await expect(deleteImage(world.one, id, now)).rejects.toThrow('There are 3 VMs using it.');
  });

  test('an image that OpenNebula is still taking over is deleted when that is done', async () => {
    world.sandbox.imageCopyMs = 300;
    const id = await allocateImage(world.one, 1, newImage());
    world.sandbox.imageCopyMs = 50;
    const told: unknown[] = [];
    const before = world.sandbox.calls.length;
    await deleteImage(world.one, id, {
      waitMs: 10_000,
      pollMs: 20,
      onWait: ({ state }) => told.push(state),
    });
    await world.sandbox.settle();
    expect(told).toEqual(['LOCKED']);
    const deleted = world.sandbox.calls
      .slice(before)
      .filter(({ method }) => method === 'one.image.delete');
    expect(deleted.map(({ args }) => args)).toEqual([[id]]);
    await expect(getImage(world.one, id)).rejects.toMatchObject({ oneCode: 1024 });
  });
});

describe('the check of free space', () => {
  const flags = () =>
    world.sandbox.calls.findLast(({ method }) => method === 'one.image.allocate')?.args.slice(2);

  test('the check of free space is asked for by leaving its flag out, which every version understands', async () => {
    await allocateImage(world.one, 1, newImage());
    expect(flags()).toEqual([]);
    await allocateImage(world.one, 1, newImage({ capacityFlag: true }));
    expect(flags()).toEqual([true]);
  });

  test.each([
    ['6.4.7', false],
    ['6.8.0', false],
    ['6.8.2', false],
    ['6.8.3', true],
    ['6.10.5', true],
    ['7.0.0', true],
    ['7.4.0~rc1', true],
    ['5.12.0', false],
  ])('the check of free space is skipped on %s by the flag %s', (version, flag) => {
    expect(skipCapacityFlag(version)).toBe(flag);
  });

  test('the check of free space is not skipped on a version that nobody can read', () => {
    expect(() => skipCapacityFlag('next')).toThrow('"next"');
  });
});
