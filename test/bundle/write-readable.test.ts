// What is written can be read: the manifest is read back by the reader's own rules before a bundle gets its name.
import { existsSync } from 'node:fs';
import { copyFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { fittingFacts } from '../../lib/bundle/write/fitting-facts.ts';
import type { ImageFacts } from '../../lib/bundle/format/manifest.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { bundleTarget } from '../../lib/bundle/location/destination.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { Extents } from '../../lib/read/extents.ts';
import type { Log } from '../../lib/report/log.ts';
import { localBundleFolder, removeOldBundles } from '../../lib/bundle/location/retention.ts';
import type { OpenableDisk } from '../../lib/storage/storage.ts';
import { writeBundle } from '../../lib/write-bundle.ts';
import { fileVm } from '../support/file-vm.ts';
import { inWorld, type World } from '../support/storage-world.ts';
import { openPath, timesOpen } from '../support/read-bundle.ts';
import {
  aboutOf,
  fileReader,
  makeDisk,
  noLog,
  testFolder,
  writeBundle as writeSmall,
  noCompression,
} from '../support/write-bundle.ts';

const folder = testFolder();
afterAll(folder.remove);
const at = (name: string) => join(folder.path, name);
const disk = at('disk');
const extents = [{ offset: 0, length: 4096 }];
await makeDisk(disk, 8192, extents);

const facts: ImageFacts = {
  id: 3,
  name: 'web',
  type: 'OS',
  persistent: false,
  datastoreId: 1,
  devPrefix: 'vd',
  description: 'small',
  attributes: { FIRST: 'one', SECOND: 'two' },
};

function collectingLog() {
  const warnings: string[] = [];
  const log: Log = { ...noLog, warn: (text) => void warnings.push(text) };
  return { warnings, log };
}

/** Exports a VM with one disk, whose image is described by `image`. */
async function exportWith(
  world: World,
  name: string,
  image: ImageFacts,
  { vmName = 'files', log = noLog }: { vmName?: string; log?: Log } = {},
) {
  const vm = parseVm(Buffer.from((await fileVm(at('ds'), 7, [{ id: 0 }], { name: vmName })).xml));
  const run = { ...world.run, log };
  const openable: OpenableDisk = {
    id: 0,
    layout: { format: 'raw' },
    virtualSize: 8192,
    open: () => fileReader(disk, 8192, extents),
  };
  const content = {
    vm,
    started: new Date(),
    disks: [openable],
    images: new Map([[0, image]]),
    consistency: { level: 'offline', at: new Date().toISOString(), frozenMs: 0 },
    codec: await pickCompressor({ method: 'gzip' }),
  } as const;
  const naming = { vmId: 7, epoch: 1, compression: 'gzip' } as const;
  return writeBundle(await bundleTarget(at(name), undefined, run, naming), content, run);
}

describe('facts of an image', () => {
  test('facts of an image that are too long are left out with a warning, and the bundle can be read', () =>
    inWorld(async (world) => {
      const { warnings, log } = collectingLog();
      const long = { ...facts, attributes: { ...facts.attributes, LONG: 'x'.repeat(70_000) } };
      await exportWith(world, 'long.tar.gz', long, { log });
      const bundle = await openPath(at('long.tar.gz'));
      expect(bundle.manifest?.disks[0]?.image).toEqual(facts);
      await bundle.close();
      expect(warnings).toEqual([
        'not in the bundle, since no reader would accept it: disk 0: the attribute LONG of its image 3',
      ]);
    }));

  test.each<[string, Partial<ImageFacts>, RegExp]>([
    [
      'a long description',
      { description: 'd'.repeat(65_537) },
      /disk 0: the description of its image 3$/,
    ],
    [
      'many attributes',
      {
        attributes: Object.fromEntries(
          Array.from({ length: 40 }, (_, n) => [`A${n}`, String(n).repeat(5000)]),
        ),
      },
      /disk 0: the attribute A\d+ of its image 3; .*; and \d+ more$/,
    ],
    ['a datastore that is none', { datastoreId: -1 }, /disk 0: all of its image 3 .*datastoreId/],
    ['a name that is too long', { name: 'n'.repeat(65_537) }, /disk 0: all of its image 3 \(/],
  ])('facts of an image never make a manifest that is refused: %s', (_name, change, warning) => {
    const warnings: string[] = [];
    const images = new Map([[0, { ...facts, ...change }]]);
    const kept = fittingFacts(images, (text) => warnings.push(text)).get(0);
    expect(warnings).toEqual([expect.stringMatching(warning)]);
    expect(Buffer.byteLength(JSON.stringify(kept ?? {}))).toBeLessThan(300_000);
  });

  test.each<[string, number, Readonly<Record<string, string>>]>([
    [
      'are large',
      100,
      Object.fromEntries(Array.from({ length: 5 }, (_, n) => [`A${n}`, 'x'.repeat(4000)])),
    ],
    ['are many', 500, Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`A${n}`, 'x']))],
  ])(
    'facts of many images that together %s make a bundle that can be read, with one warning',
    (_name, count, attributes) =>
      inWorld(async (world) => {
        const { warnings, log } = collectingLog();
        const vm = parseVm(Buffer.from((await fileVm(at('ds'), 7, [{ id: 0 }])).xml));
        const name = `many-${count}.tar`;
        const run = { ...world.run, log };
        const facts_ = { vmId: 7, epoch: 1, compression: 'none' } as const;
        const disks = Array.from({ length: count }, (_, id): OpenableDisk => ({
          id,
          layout: { format: 'raw' },
          virtualSize: 8192,
          open: () => fileReader(disk, 8192, extents),
        }));
        const images = new Map(disks.map(({ id }) => [id, { ...facts, id, attributes }]));
        await writeBundle(
          await bundleTarget(at(name), undefined, run, facts_),
          {
            vm,
            started: new Date(),
            disks,
            images,
            consistency: { level: 'offline', at: new Date().toISOString(), frozenMs: 0 },
            codec: await pickCompressor({ method: 'none' }),
          },
          run,
        );
        const bundle = await openPath(at(name));
        const sizes = bundle.manifest?.disks.map(
          ({ image }) => Object.keys(image?.attributes ?? {}).length,
        );
        await bundle.close();
        // The longer an id, the less room is left.
        expect(Math.max(...(sizes ?? [])) - Math.min(...(sizes ?? []))).toBeLessThan(2);
        expect(sizes?.[0]).toBeGreaterThan(0);
        expect(warnings).toEqual([expect.stringMatching(/; and \d+ more$/)]);
      }),
  );

  test('facts of an image that fit stay as they are, in their order', () => {
    const kept = fittingFacts(new Map([[0, facts]]), () => expect('a warning').toBe('none'));
    expect(JSON.stringify(kept.get(0))).toBe(JSON.stringify(facts));
  });
});

describe('a manifest that no reader would accept', () => {
  test('a manifest that no reader would accept is refused before a disk is read, and no file is left', () =>
    inWorld(async (world) => {
      const export_ = exportWith(world, 'name.tar.gz', facts, { vmName: 'n'.repeat(70_000) });
      await expect(export_).rejects.toThrow(/name\.tar\.gz: no reader would accept it: .*vm\.name/);
      expect((await readdir(folder.path)).filter((name) => name.startsWith('name'))).toEqual([]);
    }));

  test('a manifest that no reader would accept is refused before the bundle gets its name', async () => {
    const written: Uint8Array[] = [];
    const sink = {
      name: 'a bundle',
      write: (data: Uint8Array) => Promise.resolve(void written.push(data)),
      commit: () => Promise.resolve(),
      discard: () => Promise.resolve(),
    };
    const writer = new BundleWriter(sink, noCompression, { created: new Date(), log: noLog });
    await writer.addFile('./vm.xml', Buffer.from('<VM/>'));
    const image = { ...facts, attributes: { LONG: 'x'.repeat(70_000) } };
    const about = aboutOf([{ format: 'raw', virtualSize: 0 }]);
    const finish = writer.addAbout({ ...about, disks: [{ ...about.disks[0]!, image }] });
    await expect(finish).rejects.toThrow(
      /^cannot write a bundle: no reader would accept it: about\.json/,
    );
    await writer.abort();
  });
});

describe('disks with more data than a bundle can hold', () => {
  test('disks with more data than a bundle can hold are refused before one of them is read', () =>
    inWorld(async (world) => {
      const size = 17 * 2 ** 40;
      const { xml } = await fileVm(at('ds'), 7, [{ id: 0 }, { id: 1 }]);
      const vm = parseVm(Buffer.from(xml.replaceAll('<SIZE>1<', `<SIZE>${17 * 2 ** 20}<`)));
      const disks = [0, 1].map((id): OpenableDisk => ({
        id,
        layout: { format: 'raw' },
        virtualSize: size,
        open: () =>
          Promise.resolve({
            virtualSize: size,
            extents: () => Promise.resolve(Extents.whole(size)),
            read: () => {
              throw new Error('a disk was read');
            },
            close: () => Promise.resolve(),
          }),
      }));
      const naming = { vmId: 7, epoch: 1, compression: 'none' } as const;
      const target = await bundleTarget(at('large.tar'), undefined, world.run, naming);
      const written = writeBundle(
        target,
        {
          vm,
          started: new Date(),
          disks,
          images: new Map(),
          consistency: { level: 'offline', at: new Date().toISOString(), frozenMs: 0 },
          codec: await pickCompressor({ method: 'none' }),
        },
        world.run,
      );
      await expect(written).rejects.toThrow(
        /cannot dump disk 0: a disk has at most \d+ TiB of data in a bundle/,
      );
      expect(existsSync(at('large.tar.part'))).toBe(false);
    }));
});

describe('old bundles', () => {
  test('old bundles all stay when the new one cannot be read', async () => {
    const { warnings, log } = collectingLog();
    const names = [1000, 2000, 3000].map((epoch) => `onevmdump-9-${epoch}.tar`);
    await writeSmall(at('sound'), noCompression, []);
    for (const name of names) await copyFile(at('sound'), at(name));
    const made = 'onevmdump-9-4000.tar';
    await writeFile(at(made), 'no bundle');
    await removeOldBundles(
      localBundleFolder(folder.path, log),
      { own: { vm: { id: 9 } }, keep: 1, made },
      log,
    );
    expect(names.every((name) => existsSync(at(name)))).toBe(true);
    expect(warnings).toEqual([
      `all older bundles of VM 9 are kept, because ${made} cannot be read: it has no index`,
    ]);
  });

  test('old bundles leave no file open when one of them cannot be read', async () => {
    const { log } = collectingLog();
    // A file of 4096 bytes whose reading fails: the loopback device has no speed.
    const devices = localBundleFolder('/sys/class/net/lo', log);
    await expect(devices.vmOf('speed')).rejects.toThrow('cannot read bundle');
    expect(timesOpen('/sys/class/net/lo/speed')).toBe(0);
  });
});
