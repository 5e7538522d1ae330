// Region tables, and the two JSON members of a bundle, apart from a bundle.
import { crc32 } from 'node:zlib';
import { DiskChecksum } from '../../../lib/bundle/format/disk-checksum.ts';
import {
  parseAbout,
  parseManifest,
  regionsMember,
  requireSameAbout,
} from '../../../lib/bundle/format/manifest-parse.ts';
import type { Frame, Manifest, ManifestDisk } from '../../../lib/bundle/format/manifest.ts';
import { regionTable } from '../../../lib/bundle/format/region-table-encode.ts';
import {
  frameRecord,
  headerSize,
  regionRecord,
  runRecord,
} from '../../../lib/bundle/format/region-table.ts';
import {
  decodeTrailer,
  encodeTrailer,
  longestTrailer,
} from '../../../lib/bundle/format/trailer.ts';
import { readRegion } from '../../../lib/bundle/read/region-read.ts';
import { openRegionTable } from '../../../lib/bundle/read/region-table-read.ts';
import { memorySource } from '../../support/read-bundle.ts';
import { aboutOf, noise } from '../../support/write-bundle.ts';
import { mutate, type Chance } from '../mutations.ts';
import { changeField, type Field } from '../numbers.ts';
import { must, type Target } from '../target.ts';
import { changeValue, mutateJson } from '../text-mutations.ts'; // prettier-ignore

const MiB = 2 ** 20;
const diskMember = './backup.disk.0';
const tarHeader = 512;
/** More regions of a disk than this are not read one by one. */
const mostRead = 6;

/** The tar stream of a disk's member before its data, and the disk. */
const dataStart = 1536;
const extents = [
  { offset: 0, length: 4096 },
  { offset: MiB - 512, length: 1024 },
  { offset: 3 * MiB + 8192, length: 100_000 - (100_000 % 512) },
];
const stored = Buffer.concat([
  Buffer.alloc(dataStart, 'h'),
  ...extents.map(({ offset, length }) => noise(length, offset + 1)),
]);

function tableOf(frameSize: number, virtualSize: number, isEmpty = false): Buffer {
  const hashes: Buffer[] = [];
  const sum = new DiskChecksum(virtualSize, (hash) => void hashes.push(Buffer.from(hash)));
  const known = isEmpty ? [] : extents;
  for (const { offset, length } of known) sum.update(noise(length, offset + 1), offset);
  sum.digest();
  const frames: Frame[] = [];
  for (let at = 0; at < stored.length; at += frameSize) {
    const part = stored.subarray(at, at + frameSize);
    frames.push([at, part.length, part.length, crc32(part)]);
  }
  const lengths = { frameSize, streamLength: stored.length, dataStart, virtualSize };
  const table = regionTable({ ...lengths, extents: known, hashes: Buffer.concat(hashes), frames });
  return Buffer.concat([...table.pieces()]);
}

function fieldsOf(table: Buffer): readonly Field[] {
  const [frames = 0, runs = 0] = [32, 40].map((at) => Number(table.readBigUInt64LE(at)));
  const firstRun = table.length - runs * runRecord;
  const firstRegion = headerSize + frames * frameRecord;
  const fields: Field[] = [];
  const add = (offset: number, ...sizes: readonly Field['bytes'][]): void => {
    for (const bytes of sizes) {
      fields.push({ offset, bytes });
      offset += bytes;
    }
  };
  // Those of the header as often as all others.
  for (let times = 0; times < 3; times++) add(8, 8, 8, 8, 8, 8, 8, 8);
  for (let at = headerSize; at < firstRegion; at += frameRecord) add(at, 8, 4, 4);
  for (let at = firstRegion; at < firstRun; at += regionRecord) add(at + 32, 8, 4, 4);
  for (let at = firstRun; at < table.length; at += runRecord) add(at, 4, 4);
  return fields;
}

function mutateTable(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(8) === 0) return mutate(seed, chance);
  let table = Buffer.from(seed);
  const fields = fieldsOf(table);
  for (let times = chance.of([1, 1, 2, 4]); times > 0; times--) {
    if (chance.below(6) > 0) {
      changeField(table, chance.of(fields), 'little', chance);
      continue;
    }
    // The header then says what the table has.
    const [at, size] = chance.of([[32, frameRecord], [40, runRecord]] as const);
    const more = chance.of([1, 5, 5000]);
    table.writeBigUInt64LE(BigInt.asUintN(64, table.readBigUInt64LE(at) + BigInt(more)), at);
    table = Buffer.concat([table, Buffer.alloc(more * size)]);
  }
  return table;
} // prettier-ignore

export const regionTables: Target = {
  name: 'region-table',
  seeds: () => [
    tableOf(8 * MiB, 4 * MiB),
    tableOf(8 * MiB, 4 * MiB - 1000),
    tableOf(MiB, 40 * MiB),
    tableOf(MiB, 0, true),
  ],
  mutate: mutateTable,
  refuses: ['BundleError'],
  async read(input) {
    const member = Buffer.concat([Buffer.alloc(tarHeader), input]);
    const { source } = memorySource(Buffer.concat([stored, member]), 'b');
    const end = stored.length;
    const frames: Frame[] = [[end, member.length, member.length, crc32(member)]];
    // A forged manifest says what a forged table says.
    const claimed = input.length >= 16 ? Number(input.readBigUInt64LE(8)) : 0;
    const virtualSize = Number.isSafeInteger(claimed) ? claimed : 0;
    const disk = { id: 0, member: diskMember, virtualSize } as ManifestDisk;
    const manifest = {
      compression: 'none',
      members: [
        { name: diskMember, size: virtualSize, offset: 0, stored: end },
        { name: regionsMember(0), size: input.length, offset: end, stored: member.length, frames },
      ],
    } as unknown as Manifest;
    const table = await openRegionTable(source, manifest, disk);
    const found = await table.frames();
    must(found.length === table.header.frames, 'the number of frames');
    let regions = 0;
    for await (const region of table.regions()) {
      if (regions < mostRead) await table.runs(regions, region);
      regions += 1;
    }
    must(regions === table.count, 'the number of regions');
    for (let index = 0; index < Math.min(mostRead, table.count); index++) {
      const content = await readRegion(source, 'none', table, index, { label: 'disk 0' });
      const length = Math.min(table.regionSize, virtualSize - index * table.regionSize);
      must(content.length === length, 'the length of a region');
    }
    return found;
  },
};

const sha256 = '0'.repeat(64);

function manifestJson(): Buffer {
  const image = { id: 3, name: 'debian', type: 'OS', persistent: true, datastoreId: 1, attributes: { DEV_PREFIX: 'vd' } } as const;
  const about = aboutOf([
    { format: 'raw', virtualSize: 4096 },
    { format: 'qcow2', clusterSize: 4096, virtualSize: 8192, id: 3 },
  ], { leftOut: [7], cloud: { name: 'c', endpoint: 'http://one:2633/RPC2' }, optional: ['./later'] });
  const sizes: readonly (readonly [string, number])[] = [['./vm.xml', 920], ['./about.json', 700], ['./later', 3], ['./nvram', 5000], ['./backup.disk.0', 4096], ['./regions.disk.0', 200], ['./backup.disk.3', 40_960], ['./regions.disk.3', 200]];
  const members = sizes.map(([name, size], n) => ({
    ...{ name, size, offset: n * 1000, stored: 1000 },
    ...(!name.startsWith('./backup') && { frames: [[n * 1000, 1000, size, 1]], sha256 }),
  }));
  const disks = about.disks.map((disk) => ({ ...disk, image, dataBytes: 4096, checksum: sha256 }));
  return Buffer.from(JSON.stringify({ ...about, compression: 'gzip', members, disks }));
} // prettier-ignore

export const manifestText: Target = {
  name: 'manifest',
  seeds: () => [manifestJson()],
  mutate: mutateJson,
  refuses: ['BundleError'],
  read(input) {
    const manifest = parseManifest(input, () => undefined);
    const about = parseAbout(input, () => undefined);
    requireSameAbout(about, manifest);
    const again = parseManifest(Buffer.from(JSON.stringify(manifest)));
    must(JSON.stringify(again) === JSON.stringify(manifest), 'a manifest that reads otherwise');
    const places = [...manifest.members, ...manifest.disks.map(({ member }) => ({ name: member }))];
    must(
      places.every(({ name }) => !name.includes('..') && !name.startsWith('/')),
      'a name',
    );
    return manifest;
  },
};

export const aboutText: Target = {
  name: 'about',
  seeds: () => [Buffer.from(JSON.stringify(aboutOf([{ format: 'raw', virtualSize: 4096 }])))],
  mutate(seed, chance) {
    if (chance.below(2) === 0) return mutateJson(seed, chance);
    const value = JSON.parse(seed.toString()) as object;
    changeValue(value, chance);
    return Buffer.from(JSON.stringify({ requires: chance.below(9) === 0 ? ['x'] : [], ...value }));
  },
  refuses: ['BundleError'],
  read: (input) => parseAbout(input, () => undefined),
};

export const trailers: Target = {
  name: 'trailer',
  seeds: () =>
    (['gzip', 'zstd', 'none'] as const).map((compression) => {
      const place = { compression, offset: 40, stored: 60, crc32: 7 };
      const end = encodeTrailer({ ...place, sha256: Buffer.alloc(32, 1) });
      return Buffer.concat([Buffer.alloc(100, 'f'), end]);
    }),
  mutate(seed, chance) {
    const bytes = Buffer.from(seed);
    if (chance.below(3) === 0) return mutate(bytes, chance);
    // The record with its CRC: a trailer is damaged, or lies.
    const record = bytes.indexOf('OVMDIDX1');
    changeField(bytes, { offset: record + chance.of([8, 16, 24, 28]), bytes: 8 }, 'little', chance);
    bytes.writeUInt32LE(crc32(bytes.subarray(record, record + 60)), record + 60);
    return chance.below(3) === 0 ? Buffer.concat([bytes, Buffer.alloc(chance.of([1, 9000]))]) : bytes;
  },
  refuses: [],
  read(input) {
    const tail = input.subarray(-longestTrailer);
    for (const part of [input, tail]) {
      const found = decodeTrailer(part, input.length);
      if (!found) continue;
      must(found.offset >= 0 && found.stored > 0, 'a place');
      must(found.offset + found.stored < input.length, 'a place beyond the file');
    }
  },
}; // prettier-ignore
