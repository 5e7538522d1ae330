// Small files that stand for much: a reader of any of them stays below 200 MB and takes some seconds of CPU.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from '@jest/globals';
import type { Frame, ManifestMember } from '../../lib/bundle/format/manifest.ts';
import { regionTable } from '../../lib/bundle/format/region-table-encode.ts';
import { encodeTrailer } from '../../lib/bundle/format/trailer.ts';
import { endOfArchive, paxMember, tarMember } from '../support/read-bundle.ts';
import { aboutOf } from '../support/write-bundle.ts';
import { vmXml } from './forms.ts';
import { measured } from './measured.ts';

/** MiB; some less than 200 MB. */
const mostMemory = 190;
/** A quiet machine takes half of it at most. */
const mostCpuSeconds = 10;

const folder = mkdtempSync(join(tmpdir(), 'onevmdump-hostile-'));
afterAll(() => rmSync(folder, { recursive: true }));

const MiB = 2 ** 20;
const vm = tarMember({ path: './vm.xml', data: vmXml() });
const disk = (id = 0, data = Buffer.alloc(1000, 1)) =>
  tarMember({ path: `./backup.disk.${id}`, data });
const json = (data: Buffer | string) =>
  tarMember({ path: './manifest.json', data: Buffer.from(data) });
const xml = (start: string, piece: string, size: number, end: string) =>
  tarMember({
    path: './vm.xml',
    data: Buffer.from(start + piece.repeat(Math.floor(size / piece.length)) + end),
  });
const many = (piece: string, size: number) => piece.repeat(Math.floor(size / piece.length));
const members = '{"format":"onevmdump","version":1,"members":[';
const sparse = (map: string, count: number) => [
  paxMember([
    ['GNU.sparse.numblocks', String(count)],
    ['GNU.sparse.size', '1000000000'],
    ['GNU.sparse.name', './backup.disk.0'],
    ['GNU.sparse.map', map],
  ]),
  disk(),
];
const counted = (count: number) => {
  let map = '';
  for (let n = 0; n < count; n++) map += `${n === 0 ? '' : ','}${n * 3},1`;
  return map;
};

const files: readonly (readonly [string, () => readonly Buffer[]])[] = [
  ['a manifest of 95 MiB of open lists', () => [vm, disk(), json('['.repeat(95 * MiB))]],
  ['a manifest of 95 MiB of empty objects', () => [vm, disk(), json(`[${many('{},', 95 * MiB)}`)]],
  ['a manifest of 95 MiB of blanks', () => [vm, disk(), json(' '.repeat(95 * MiB))]],
  ['a manifest of 95 MiB of frames', () => [vm, disk(), json(`${members}{"frames":[${many('[0,1,1,0],', 95 * MiB)}`)]],
  ['a manifest of 30,000 lists of frames', () => [vm, disk(), json(`${members}${many('{"frames":[[0,1,1,0]]},', 690_000)}`)]],
  ['a manifest with a text of 15 MiB', () => [vm, disk(), json(`{"x":"${'x'.repeat(15 * MiB)}"}`)]],
  ['20,000 empty disks', () => [vm, ...Array.from({ length: 20_000 }, (_, id) => disk(id, Buffer.alloc(0)))]],
  ['512 disks with as much as is kept of each', () => [vm, ...Array.from({ length: 512 }, (_, id) => disk(id, Buffer.alloc(65_536, 7)))]],
  ['a PAX header of 30 MiB of short records', () => [vm, tarMember({ path: 'x', type: 'x', data: Buffer.from(many('6 a=b\n', 30 * MiB)) }), disk()]],
  ['a sparse map of 30 MiB of zeros', () => [vm, ...sparse(many('0,', 30 * MiB), 1)]],
  ['a sparse map of a million extents', () => [vm, ...sparse(counted(1_000_000), 1_000_000)]],
  ['a vm.xml of 200,000 elements', () => [xml('<VM>', '<abcdefghij a="1">0123456789012345678</abcdefghij>', 9_990_000, '</VM>'), disk()]],
  ['a vm.xml of 15 MiB of references', () => [xml('<VM><ID>', '&#x41;', 15 * MiB, '</ID></VM>'), disk()]],
  ['a vm.xml of 15 MiB of short lines and an emoji', () => [xml('<VM><ID>\u{1F600}', 'x\n', 15 * MiB, '</ID></VM>'), disk()]],
  ['a vm.xml of 15 MiB of attributes', () => [xml('<VM ', 'a="1" ', 15 * MiB, '/>'), disk()]],
  ['a vm.xml of 15 MiB of open elements', () => [xml('', '<a>', 15 * MiB, ''), disk()]],
  ['100 MB of zeros behind the archive', () => [vm, disk(), Buffer.alloc(100_000_000)]],
]; // prettier-ignore

function judge({ rssMib, cpuSeconds, stderr }: Awaited<ReturnType<typeof measured>>): void {
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(rssMib).toBeLessThan(mostMemory);
  expect(cpuSeconds).toBeLessThan(mostCpuSeconds);
}

test.each(files)('a bundle with %s takes little memory and time to show and verify', async (_name, content) => {
  const path = join(folder, 'bundle.tar.gz');
  writeFileSync(path, gzipSync(Buffer.concat([...content(), endOfArchive]), { level: 1 }));
  judge(await measured(['show', path]));
  judge(await measured(['verify', path]));
}); // prettier-ignore

test('frames that hold far more than their index says take little memory', async () => {
  const about = aboutOf([{ format: 'raw', virtualSize: 6 * 32 * MiB }]);
  const length = 32 * MiB;
  const bytes = gzipSync(Buffer.alloc(300 * MiB));
  // What the frame says of itself is as the index has it.
  bytes.writeUInt32LE(0, bytes.length - 8);
  bytes.writeUInt32LE(length, bytes.length - 4);
  const parts: Buffer[] = [];
  const listed: ManifestMember[] = [];
  let offset = 0;
  const add = (name: string, size: number, stored: Buffer, sum?: Buffer) => {
    const place = { name, size, offset, stored: stored.length };
    const crc = stored.readUInt32LE(stored.length - 8);
    const frame: Frame = [offset, stored.length, stored.readUInt32LE(stored.length - 4), crc];
    listed.push(sum ? { ...place, frames: [frame], sha256: sha256(sum).toString('hex') } : place);
    parts.push(stored);
    offset += stored.length;
  };
  const addFile = (path: string, data: Buffer) =>
    add(path, data.length, gzipSync(tarMember({ path, data })), data);
  addFile('./vm.xml', vmXml());
  addFile('./about.json', Buffer.from(JSON.stringify(about)));
  const first = offset;
  add('./backup.disk.0', 6 * length, Buffer.concat(Array.from({ length: 6 }, () => bytes)));
  const table = regionTable({
    ...{ virtualSize: 6 * length, extents: [{ offset: 0, length: 6 * length }], dataStart: 2048 },
    hashes: Buffer.alloc(6 * 32 * 32),
    frames: Array.from({ length: 6 }, (_, n): Frame => [first + n * bytes.length, bytes.length, length, 0]),
    frameSize: length,
    streamLength: 6 * length,
  });
  addFile('./regions.disk.0', Buffer.concat([...table.pieces()]));
  const disks = [{ ...about.disks[0], dataBytes: 6 * length, checksum: '0'.repeat(64) }];
  const manifest = Buffer.from(JSON.stringify({ ...about, compression: 'gzip', members: listed, disks }));
  const last = gzipSync(Buffer.concat([json(manifest), endOfArchive]));
  const crc32 = last.readUInt32LE(last.length - 8);
  const trailer = { compression: 'gzip', offset, stored: last.length, crc32, sha256: sha256(manifest) } as const;
  const path = join(folder, 'bombs.tar.gz');
  writeFileSync(path, Buffer.concat([...parts, last, encodeTrailer(trailer)]));
  judge(await measured(['show', path]));
  const verified = await measured(['verify', path]);
  judge(verified);
  expect(verified.code).toBe(5);
  expect(verified.stderr).toContain('disk 0, frame 0');
  // A folder of them is listed in no time.
  judge(await measured(['list', folder]));
}); // prettier-ignore

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
