import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openFileSource } from '../../lib/bundle/location/file-source.ts';
import type { Frame, Manifest } from '../../lib/bundle/format/manifest.ts';
import { encodeTrailer, trailerSize } from '../../lib/bundle/format/trailer.ts';
import { verifyBundle, type VerifyReport } from '../../lib/bundle/read/verify.ts';
import { BundleError } from '../../lib/report/errors.ts';
import { silent } from '../../lib/report/progress.ts';
import { requireRestorable } from '../../lib/restore/restorable.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import {
  endOfArchive,
  framesOf,
  memorySource,
  MiB,
  oldFolder,
  tarMember,
  withBundle,
} from '../support/read-bundle.ts';
import { makeDisk, noLog, testFolder, tool, writeBundle } from '../support/write-bundle.ts';

/** Whether a VM can be made of it is another question. */
const any = () => Promise.resolve();

const folder = testFolder();
const at = (name: string) => join(folder.path, name);
afterAll(folder.remove);

const methods = ['gzip', 'zstd', 'none'] as const;
const large = [{ offset: MiB, length: 40 * MiB }];
const small = [{ offset: 512, length: 512 }];

beforeAll(async () => {
  await makeDisk(at('large.raw'), 50 * MiB, large);
  await makeDisk(at('small.raw'), 4096, small);
  for (const method of methods) {
    const codec = await pickCompressor({ method });
    await writeBundle(at(`large.${method}`), codec, [
      { path: at('large.raw'), virtualSize: 50 * MiB, extents: large, layout: { format: 'raw' } },
      {
        path: at('large.raw'),
        virtualSize: 50 * MiB,
        extents: large,
        layout: { format: 'qcow2', clusterSize: 65536 },
      },
    ]);
    await writeBundle(at(`small.${method}`), codec, [
      { path: at('small.raw'), virtualSize: 4096, extents: small, layout: { format: 'raw' } },
      {
        path: at('small.raw'),
        virtualSize: 4096,
        extents: small,
        layout: { format: 'qcow2', clusterSize: 512 },
      },
    ]);
  }
});

function verifyBytes(bytes: Buffer): Promise<VerifyReport> {
  const { source } = memorySource(bytes, 'b');
  return verifyBundle(source, { log: noLog, progress: silent, restorable: any });
}

async function verifyPath(path: string): Promise<VerifyReport> {
  return verifyBundle(await openFileSource(path), {
    log: noLog,
    progress: silent,
    restorable: any,
  });
}

/** The manifest of a bundle file. */
function manifestOf(path: string): Promise<Manifest> {
  return withBundle(path, ({ manifest }) => Promise.resolve(manifest!));
}

/** The frames of all members but the manifest. */
function allFrames(path: string): Promise<readonly Frame[]> {
  return withBundle(path, async (bundle) => {
    const frames = bundle.manifest!.members.flatMap((member) => [...(member.frames ?? [])]);
    for (const { id } of bundle.disks) frames.push(...(await framesOf(bundle, id)));
    return frames;
  });
}

function flip(bytes: Buffer, place: number, bit = 0): Buffer {
  const changed = Buffer.from(bytes);
  changed[place] = changed[place]! ^ (1 << bit);
  return changed;
}

describe.each(methods)('a sound bundle with %s', (method) => {
  test(`an undamaged bundle with ${method} is reported with what was checked`, async () => {
    const { disks } = await manifestOf(at(`large.${method}`));
    await expect(verifyPath(at(`large.${method}`))).resolves.toMatchObject({
      bundle: at(`large.${method}`),
      size: readFileSync(at(`large.${method}`)).length,
      compression: method,
      indexed: true,
      frames: (await allFrames(at(`large.${method}`))).length + 1,
      disks: [
        { id: 0, format: 'raw', size: 50 * MiB, dataBytes: 40 * MiB, checksum: disks[0]!.checksum },
        { id: 1, format: 'qcow2', checksum: disks[1]!.checksum },
      ],
    });
  });

  test(`the verification of a bundle with ${method} names all damaged frames of all disks`, async () => {
    const ofDisks = await withBundle(at(`large.${method}`), async (bundle) => [
      await framesOf(bundle, 0),
      await framesOf(bundle, 1),
    ]);
    const bytes = readFileSync(at(`large.${method}`));
    const damaged: (readonly [disk: number, frame: number])[] = [
      [0, 0],
      [0, 2],
      [1, 1],
    ];
    const middle = ([offset, stored]: Frame) => offset + Math.floor(stored / 2);
    for (const [disk, frame] of damaged) {
      const place = middle(ofDisks[disk]![frame]!);
      bytes[place] = bytes[place]! ^ 4;
    }
    const message = await verifyBytes(bytes).then(
      () => 'sound',
      (error: unknown) => (error as Error).message,
    );
    const places = [...message.matchAll(/disk (\d+), frame (\d+) at byte (\d+)/g)];
    expect(places.map(([, disk, frame]) => [Number(disk), Number(frame)])).toEqual(damaged);
    expect(places.map(([, , , byte]) => Number(byte))).toEqual(
      damaged.map(([disk, frame]) => ofDisks[disk]![frame]![0]),
    );
  });

  test(`a bundle with ${method} is reported as damaged when it is cut anywhere`, async () => {
    const bytes = readFileSync(at(`small.${method}`));
    const step = Math.ceil(bytes.length / 60);
    for (let length = bytes.length - 1; length >= 0; length -= step) {
      await expect(verifyBytes(bytes.subarray(0, length))).rejects.toThrow(BundleError);
    }
  });

  test(`a bundle with ${method} is reported as damaged when something is put before or after it`, async () => {
    const bytes = readFileSync(at(`small.${method}`));
    const zeros = Buffer.alloc(512);
    for (const changed of [
      [bytes, zeros, Buffer.from('x')],
      [zeros, bytes],
      [bytes, bytes],
      [bytes, Buffer.from('x')],
    ]) {
      await expect(verifyBytes(Buffer.concat(changed))).rejects.toThrow(BundleError);
    }
  });
});

test('the verification of a bundle names damaged UEFI variables once', async () => {
  const nvram = Buffer.alloc(4096, 'uefi');
  await writeBundle(at('nvram'), await pickCompressor({ method: 'none' }), [], { nvram });
  const bytes = readFileSync(at('nvram'));
  const error: unknown = await verifyBytes(flip(bytes, bytes.indexOf(nvram) + 9)).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BundleError);
  expect(String(error)).toBe('BundleError: bundle b: nvram: SHA-256 is not that of the manifest');
});

describe('no changed bit goes unnoticed', () => {
  // Such as the time in gzip's header, or another distance for a match within zeros.
  test('no changed bit goes unnoticed by verify in a gzip bundle, unless gzip unpacks the same from it', async () => {
    const bytes = readFileSync(at('small.gzip'));
    const unpacked = tool('sh', '-c', `gzip -dc ${at('small.gzip')} | sha256sum`);
    let refused = 0;
    for (let place = 0; place < bytes.length; place++) {
      const changed = flip(bytes, place, place % 8);
      const verdict = await verifyBytes(changed).catch((error: unknown) => error);
      if (verdict instanceof BundleError) {
        refused += 1;
      } else {
        writeFileSync(at('changed'), changed);
        expect(verdict).toMatchObject({ bundle: 'b' });
        expect(tool('sh', '-c', `gzip -dc ${at('changed')} | sha256sum`)).toBe(unpacked);
      }
    }
    expect(refused).toBeGreaterThan(bytes.length * 0.95);
  });

  test('no changed bit goes unnoticed by verify in an uncompressed bundle', async () => {
    const bytes = readFileSync(at('small.none'));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (place, bit) => {
        await expect(verifyBytes(flip(bytes, place, bit))).rejects.toThrow(BundleError);
      }),
      { numRuns: 500 },
    );
  });

  test('no changed bit goes unnoticed by verify in a zstd bundle, unless zstd unpacks the same from it', async () => {
    const bytes = readFileSync(at('small.zstd'));
    const unpacked = tool('sh', '-c', `zstd -dcq ${at('small.zstd')} | sha256sum`);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (place, bit) => {
        const changed = flip(bytes, place, bit);
        const verdict = await verifyBytes(changed).catch((error: unknown) => error);
        if (verdict instanceof BundleError) return;
        writeFileSync(at('changed'), changed);
        expect(verdict).toMatchObject({ bundle: 'b' });
        expect(tool('sh', '-c', `zstd -dcq ${at('changed')} | sha256sum`)).toBe(unpacked);
      }),
      { numRuns: 100 },
    );
  });

  test('no changed bit goes unnoticed by verify when many bytes are overwritten', async () => {
    const bytes = readFileSync(at('small.gzip'));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.uint8Array({ minLength: 12, maxLength: 600 }),
        async (place, noise) => {
          const changed = Buffer.from(bytes);
          changed.set(noise.subarray(0, bytes.length - place), place);
          fc.pre(!changed.subarray(10).equals(bytes.subarray(10)));
          await expect(verifyBytes(changed)).rejects.toThrow(BundleError);
        },
      ),
      { numRuns: 200 },
    );
  });
});

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/**
 * An uncompressed bundle with another manifest, whose checksums are right.
 * @param change changes bytes of other members; the checksums in the manifest are then made right
 */
async function forged(
  edit: (manifest: Manifest) => Manifest,
  change: (bytes: Buffer, manifest: Manifest) => void = () => undefined,
): Promise<Buffer> {
  const manifest = await manifestOf(at('small.none'));
  const bytes = readFileSync(at('small.none'));
  change(bytes, manifest);
  const members = manifest.members.map((member): Manifest['members'][number] => {
    const { name, offset, stored, size, frames } = member;
    if (!frames) return member;
    const start = offset + (name === './vm.xml' ? 1024 : 512);
    const crc = crc32(bytes.subarray(offset, offset + stored));
    const sum = sha256(bytes.subarray(start, start + size));
    return { ...member, frames: [[offset, stored, stored, crc]], sha256: sum };
  });
  const { offset, stored } = manifest.members.at(-1)!;
  const json = Buffer.from(JSON.stringify(edit({ ...manifest, members })));
  const last = Buffer.concat([tarMember({ path: './manifest.json', data: json }), endOfArchive]);
  const place = {
    offset: offset + stored,
    stored: last.length,
    crc32: crc32(last),
    sha256: Buffer.from(sha256(json), 'hex'),
  };
  return Buffer.concat([
    bytes.subarray(0, place.offset),
    last,
    encodeTrailer({ compression: 'none', ...place }),
  ]);
}

/** Changes one frame of a member. */
function withFrame(member: number, change: (frame: Frame) => Frame) {
  return (manifest: Manifest): Manifest => ({
    ...manifest,
    members: manifest.members.map((one, n) =>
      n === member ? { ...one, frames: (one.frames ?? []).map(change) } : one,
    ),
  });
}

/** Changes the region table of disk 0, at a place in its content. */
function withTable(place: number, change: (table: Buffer) => void) {
  return (bytes: Buffer, { members }: Manifest): void => {
    const { offset, size } = members.find(({ name }) => name === './regions.disk.0')!;
    change(bytes.subarray(offset + 512 + place, offset + 512 + size));
  };
}

function withMember(member: number, change: object) {
  return (manifest: Manifest): Manifest => ({
    ...manifest,
    members: manifest.members.map((one, n) => (n === member ? { ...one, ...change } : one)),
  });
}

function withDisk(id: number, change: object) {
  return (manifest: Manifest): Manifest => ({
    ...manifest,
    disks: manifest.disks.map((disk) => (disk.id === id ? { ...disk, ...change } : disk)),
  });
}

describe('a manifest that lies is found out:', () => {
  test('a manifest that tells the truth is accepted by verify, so that the refusals of others mean something', async () => {
    await expect(forged((manifest) => manifest).then(verifyBytes)).resolves.toMatchObject({
      indexed: true,
    });
  });

  test.each([
    [
      'a gap between frames',
      withFrame(1, ([o, s, l, c]) => [o + 512, s, l, c]),
      /is at byte \d+, expected/,
    ],
    [
      'a frame too long',
      withFrame(3, ([o, s, l, c]) => [o, s + 512, l + 512, c]),
      /frames end at byte/,
    ],
    ['an empty frame', withFrame(3, ([o, , , c]) => [o, 0, 0, c]), /has no valid length/],
    [
      'a length that is not stored',
      withFrame(1, ([o, s, l, c]) => [o, s, l - 1, c]),
      /no valid length/,
    ],
    [
      'another CRC of vm.xml',
      withFrame(0, ([o, s, l, c]) => [o, s, l, c ^ 1]),
      /vm.xml, frame 0 at byte 0: CRC/,
    ],
    ['another SHA-256 of vm.xml', withMember(0, { sha256: 'f'.repeat(64) }), /vm.xml: SHA-256/],
    ['another SHA-256 of about.json', withMember(1, { sha256: 'f'.repeat(64) }), /about.json: SHA/],
    ['another VM', (m: Manifest): Manifest => ({ ...m, vm: { ...m.vm, id: 8 } }), /contradict/],
    ['another checksum', withDisk(0, { checksum: 'f'.repeat(64) }), /disk 0: its checksum/],
    [
      'less data than there is',
      withDisk(0, { dataBytes: 511 }),
      /disk 0: the archive has 4096 bytes with 512/,
    ],
    [
      'another size of the guest',
      withDisk(1, { virtualSize: 8192 }),
      /disk 1: .*is of a disk of another size/,
    ],
    [
      'another cluster size',
      withDisk(1, { clusterSize: 1024 }),
      /disk 1: .*not those of the manifest/,
    ],
    ['qcow2 for raw', withDisk(0, { format: 'qcow2', clusterSize: 512 }), /disk 0: /],
    [
      'another compression',
      (m: Manifest): Manifest => ({ ...m, compression: 'gzip' }),
      /says gzip, but it is none/,
    ],
    [
      'members in another order',
      (m: Manifest): Manifest => ({ ...m, members: m.members.toReversed() }),
      /are not the first members/,
    ],
    [
      'disks that are exchanged',
      (m: Manifest): Manifest => ({ ...m, disks: m.disks.toReversed() }),
      /disk 1 has no member of its own/,
    ],
    [
      'no disks',
      (m: Manifest): Manifest => ({ ...m, disks: [], members: m.members.slice(0, 2) }),
      /members end at byte/,
    ],
    [
      'a word that a reader must know',
      (m: Manifest): Manifest => Object.assign({ ...m }, { requires: ['increments'] }),
      /needs an onevmdump that knows "increments"/,
    ],
  ])('a manifest that lies is found out by verify: %s', async (_name, edit, message) => {
    await expect(forged(edit).then(verifyBytes)).rejects.toThrow(message);
  });
});

describe('a region table that lies is found out:', () => {
  test.each([
    ['another magic', 0, (t: Buffer) => t.write('X'), /not a region table/],
    ['another size of the disk', 8, (t: Buffer) => t.writeUInt8(1, 1), /another size/],
    ['another region size', 16, (t: Buffer) => t.writeUInt8(1), /contradicts itself/],
    ['more frames', 32, (t: Buffer) => t.writeUInt8(2), /contradicts itself/],
    ['more runs', 40, (t: Buffer) => t.writeUInt8(2), /contradicts itself/],
    ['a huge number of runs', 40, (t: Buffer) => t.fill(0xff, 0, 8), /contradicts itself/],
    ['another place of a frame', 64, (t: Buffer) => t.writeUInt8(1), /is at byte \d+, expected/],
    ['another CRC', 76, (t: Buffer) => t.writeUInt8(t[0]! ^ 1), /disk 0, frame 0 at byte \d+: CRC/],
    ['another hash', 80, (t: Buffer) => t.writeUInt8(t[0]! ^ 1), /something else about a region/],
    ['another position', 112, (t: Buffer) => t.writeUInt8(1), /something else about a region/],
    ['another run', 128, (t: Buffer) => t.writeUInt8(0), /something else about a region/],
  ])(
    'a region table that lies is found out by verify: %s',
    async (_name, place, change, message) => {
      const bytes = await forged((m) => m, withTable(place, change));
      await expect(verifyBytes(bytes)).rejects.toThrow(message);
    },
  );
});

describe('a bundle without index', () => {
  test('a bundle of the older onevmdump, which has no index, is verified without a fault', async () => {
    tool('tar', '-czSf', at('old.tar.gz'), '-C', await oldFolder(at('old')), '.');
    await expect(verifyPath(at('old.tar.gz'))).resolves.toMatchObject({
      compression: 'gzip',
      indexed: false,
      frames: 0,
      disks: [{ id: 0, format: undefined, checksum: undefined }, { id: 1 }, { id: 10 }],
    });
  });

  test('a bundle of the older onevmdump, which has no index, is found damaged at any changed bit of its data', async () => {
    const bytes = readFileSync(at('old.tar.gz'));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 10, max: bytes.length - 1 }), async (place) => {
        await expect(verifyBytes(flip(bytes, place))).rejects.toThrow(BundleError);
      }),
      { numRuns: 50 },
    );
  });

  test('a bundle that lost its index by being compressed anew is compared with its manifest', async () => {
    execFileSync('bash', ['-c', 'gzip -dc large.gzip | zstd -q > anew'], { cwd: folder.path });
    await expect(verifyPath(at('anew'))).resolves.toMatchObject({
      indexed: false,
      disks: [{ format: 'raw', checksum: expect.any(String) }, { format: 'qcow2' }],
    });
  });

  test.each(['gzip', 'zstd', 'none'] as const)(
    'a bundle that lost its index (%s) is not reported as undamaged',
    async (method) => {
      const bytes = readFileSync(at(`large.${method}`));
      await expect(verifyBytes(bytes.subarray(0, -trailerSize(method)))).rejects.toThrow(
        'bundle b: the index at its end is damaged or missing; restoring is still possible',
      );
    },
  );

  test.each([
    ['another root', '<IMAGE></IMAGE>'],
    ['half a document', '<VM><ID>7</ID>'],
    ['no XML', 'VM 7'],
    ['nothing', ''],
  ])('a bundle without index whose vm.xml holds %s is refused', async (_name, xml) => {
    const bytes = Buffer.concat([
      tarMember({ path: './vm.xml', data: Buffer.from(xml) }),
      endOfArchive,
    ]);
    const { source } = memorySource(bytes, 'b');
    const restorable = requireRestorable;
    const verdict = verifyBundle(source, { log: noLog, progress: silent, restorable });
    await expect(verdict).rejects.toThrow('bundle b: its vm.xml cannot be used: ');
    await expect(verdict).rejects.toThrow(BundleError);
  });
});

test('the progress of verify covers all data, and ends', async () => {
  const told: (string | number)[] = [];
  let bytes = 0;
  const source = await openFileSource(at('small.gzip'));
  await verifyBundle(source, {
    log: noLog,
    restorable: any,
    progress: {
      begin(label, total) {
        told.push(label, total);
        return { add: (more) => (bytes += more), end: () => told.push('end') };
      },
    },
  });
  expect(told).toEqual(['verify', bytes, 'end']);
  expect(bytes).toBeGreaterThan(1024);
});
