import { describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OneClient } from '../../lib/one/client.ts';
import type { Datastore } from '../../lib/one/datastores.ts';
import type { Delivery } from '../../lib/restore/delivery.ts';
import type { ImagePlan } from '../../lib/restore/image-plan.ts';
import { registerImages } from '../../lib/restore/register-images.ts';
import { OpenNebulaError } from '../../lib/report/errors.ts';
import type { Run } from '../../lib/run/run.ts';

const nothing = (): void => undefined;

/** An oned that takes every image over when it is told to, and a delivery that tells what happens when. */
function scene({
  room = true,
  fails = -1,
  full = false,
}: { room?: boolean; fails?: number; full?: boolean } = {}) {
  const events: string[] = [];
  const ready = new Set<number>();
  const run = {
    signal: new AbortController().signal,
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
    journal: { record: () => Promise.resolve({ done: () => Promise.resolve() }) },
  } as unknown as Run;
  let staged = 0;
  let most = 0;
  const delivery: Delivery = {
    waitsForImages: true,
    check: () => Promise.resolve(),
    prepare: () => Promise.resolve(),
    explained: (error) => error,
    hasRoomFor: () => Promise.resolve(room),
    async deliver({ disk }, signal) {
      events.push(`deliver ${disk.id}`);
      most = Math.max(most, ++staged);
      await sleep(5);
      signal.throwIfAborted();
      if (disk.id === fails) throw new Error('cannot deliver');
      // The image before this one is taken over only now that this disk is there.
      if (room && disk.id > 0) ready.add(disk.id - 1);
      return { path: `/staged/${disk.id}` };
    },
    drop({ path }) {
      staged--;
      events.push(`drop ${path.slice(-1)}`);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  let allocated = 0;
  const one = {
    endpoint: 'here',
    id: () => {
      if (full) {
        const text = 'OpenNebula refused one.image.allocate: Not enough space in datastore';
        return Promise.reject(new OpenNebulaError(text, { oneCode: 8192 }));
      }
      events.push(`allocate ${allocated}`);
      return Promise.resolve(allocated++);
    },
    text: (_: string, id: number) => {
      const state = ready.has(id) || !room || id === 2 ? 1 : 4;
      return Promise.resolve(
        `<IMAGE><ID>${id}</ID><NAME>n</NAME><TYPE>0</TYPE><STATE>${state}</STATE><PERSISTENT>0</PERSISTENT>` +
          '<DATASTORE_ID>1</DATASTORE_ID><SIZE>1</SIZE><TEMPLATE></TEMPLATE></IMAGE>',
      );
    },
  } as unknown as OneClient;
  const plans = [0, 1, 2].map(
    (id) =>
      ({
        as: 'register',
        disk: { id },
        format: 'raw',
        source: { size: 3 * 2 ** 30 },
        type: 'OS',
        persistent: false,
        attributes: {},
      }) as ImagePlan,
  );
  const registering = registerImages(plans, {
    ...{ run, one, delivery, name: 'n', made: [], capacityFlag: undefined },
    datastores: new Map(plans.map((plan) => [plan, { id: 1, name: 'default' } as Datastore])),
    imageTimeoutMs: 60_000,
  });
  return { events, registering, most: () => most };
}

describe('registering the images of a VM', () => {
  test('registering the images of a VM delivers the next disk while OpenNebula takes over the image before, and no more than one ahead', async () => {
    const { events, registering, most } = scene();
    const images = await registering;
    expect(images.map(({ diskId, imageId }) => [diskId, imageId])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    expect(events).toEqual([
      ...['deliver 0', 'allocate 0', 'deliver 1', 'drop 0', 'allocate 1'],
      ...['deliver 2', 'drop 1', 'allocate 2', 'drop 2'],
    ]);
    expect(most()).toBe(2);
  });

  test('registering the images of a VM delivers one disk after the other where there is no room for two', async () => {
    const { events, registering, most } = scene({ room: false });
    await registering;
    expect(events.slice(0, 6)).toEqual([
      ...['deliver 0', 'allocate 0', 'drop 0', 'deliver 1', 'allocate 1', 'drop 1'],
    ]);
    expect(most()).toBe(1);
  });

  test('registering the images of a VM says of a full datastore which it is, how large the disk is to OpenNebula, and how the check is skipped', async () => {
    await expect(scene({ full: true }).registering).rejects.toThrow(
      'OpenNebula refused one.image.allocate: Not enough space in datastore default: OpenNebula requires 3.0 GiB for disk 0, holes included; administrators can skip this check with onevmdump restore --no-check-capacity',
    );
  });

  test('registering the images of a VM stops waiting for an image when the next disk cannot be delivered, and says why', async () => {
    const { events, registering } = scene({ fails: 1 });
    await expect(registering).rejects.toThrow('cannot deliver');
    // Nothing goes on behind the back of whoever undoes it now.
    const then = events.length;
    await sleep(100);
    expect(events).toHaveLength(then);
  });
});
