import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseXml } from '../../lib/input/xml-parse.ts';
import { toImage } from '../../lib/one/image-xml.ts';
import {
  allocateImage,
  deleteImage,
  findOwnImage,
  getImage,
  waitForImage,
  type NewImage,
} from '../../lib/one/images.ts';
import { InterruptedError, UsageError } from '../../lib/report/errors.ts';
import { openWorld, type World } from './with-sandbox.ts';
import { limits } from '../limits.ts';

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
  checkCapacity: true,
  ...changes,
});
const fast = { timeoutMs: limits.answerMs, pollMs: 20 };

describe('an image as oned shows it', () => {
  const fixture = (name: string) =>
    toImage(parseXml(readFileSync(join(import.meta.dirname, '../fixtures/xmlrpc', name)), 'it'));

  test('a CD-ROM in use', () => {
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

  test('a persistent image', () => {
    expect(fixture('image-10.xml').facts).toMatchObject({ type: 'DATABLOCK', persistent: true });
  });

  test('a backup is no disk', () => {
    expect(() => fixture('image-26-backup-probe.xml')).toThrow("is not a disk's image");
  });
});

describe('registering', () => {
  test('gives oned every value as it is', async () => {
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

  test('sends nothing that oned would act on, whatever a bundle says', async () => {
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

  test('refuses what cannot be sent before oned is called', async () => {
    const before = world.sandbox.calls.length;
    const allocating = allocateImage(world.one, 1, newImage({ description: 'a]]>b' }));
    await expect(allocating).rejects.toThrow('TEMPLATE/DESCRIPTION holds "]]>"');
    await expect(allocateImage(world.one, 1, newImage({ path: '' }))).rejects.toThrow(UsageError);
    const named = newImage({ attributes: { 'A B': 'x' } });
    await expect(allocateImage(world.one, 1, named)).rejects.toThrow('"A B" is not a name');
    expect(world.sandbox.calls.length).toBe(before);
  });

  test('a taken name and a system datastore are refused by oned at once', async () => {
    const image = newImage();
    await allocateImage(world.one, 1, image);
    await expect(allocateImage(world.one, 1, image)).rejects.toThrow('NAME is already taken');
    await expect(allocateImage(world.one, 0, newImage())).rejects.toMatchObject({ code: 16384 });
  });
});

describe('waiting', () => {
  test('tells of each state once and ends at READY', async () => {
    world.sandbox.imageCopyMs = 150;
    const states: unknown[] = [];
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, { ...fast, onState: (state) => states.push(state) });
    world.sandbox.imageCopyMs = 50;
    expect(states).toEqual(['LOCKED', 'READY']);
  });

  test('an image in ERROR is reported in oned’s own words', async () => {
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

  test('an image that takes too long', async () => {
    world.sandbox.imageCopyMs = 2000;
    const id = await allocateImage(world.one, 1, newImage());
    const waiting = waitForImage(world.one, id, { timeoutMs: 100, pollMs: 20 });
    await expect(waiting).rejects.toThrow(
      `image ${id} is not READY after 0.1 s; its state is LOCKED`,
    );
    world.sandbox.imageCopyMs = 50;
  });

  test('no limit is 0, and an interruption ends it', async () => {
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

  test('an image that was deleted meanwhile', async () => {
    await expect(waitForImage(world.one, 9999, fast)).rejects.toMatchObject({ code: 1024 });
  });

  test('some polls may go without an answer, as when oned is restarted', async () => {
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
  test('only the caller’s own image of a name is found', async () => {
    const image = newImage({ name: 'mine' });
    const id = await allocateImage(world.one, 1, image);
    expect(await findOwnImage(world.one, 'mine')).toEqual({ id, path: file });
    expect(await findOwnImage(world.one, 'min')).toBeUndefined();
    const bob = await world.as(await world.sandbox.addUser('bob'));
    expect(await findOwnImage(bob, 'mine')).toBeUndefined();
  });

  test('a deleted image is gone, and deleting it again is fine', async () => {
    const id = await allocateImage(world.one, 1, newImage());
    await waitForImage(world.one, id, fast);
    await deleteImage(world.one, id);
    await world.sandbox.settle();
    await expect(getImage(world.one, id)).rejects.toMatchObject({ code: 1024 });
    await deleteImage(world.one, id);
  });

  test('another refusal to delete is an error', async () => {
    world.sandbox.failNext('one.image.delete', 2048, 'There are 3 VMs using it.');
    await expect(deleteImage(world.one, 1)).rejects.toThrow('There are 3 VMs using it.');
  });
});
