// Bundles whose members were changed, and whose checksums are right nevertheless: what is behind them is reached.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { regionsMember } from '../../lib/bundle/format/manifest-parse.ts';
import type { Manifest, ManifestMember } from '../../lib/bundle/format/manifest.ts';
import { frameRecord, headerSize } from '../../lib/bundle/format/region-table.ts';
import { decodeTrailer, encodeTrailer } from '../../lib/bundle/format/trailer.ts';
import { endOfArchive, tarMember } from '../support/read-bundle.ts';
import { mutate, type Chance } from './mutations.ts';
import { changeField } from './numbers.ts';
import { mutateTar } from './targets/tar.ts';
import { changeValue } from './text-mutations.ts';

const block = 512;
const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

interface Part {
  readonly entry: ManifestMember;
  /** Its part of the tar stream. */
  tar: Buffer;
}

/** The manifest of an uncompressed bundle, and its members. */
function takeApart(bundle: Buffer): { readonly manifest: Manifest; readonly parts: Part[] } {
  const trailer = decodeTrailer(bundle.subarray(-block), bundle.length);
  if (!trailer) throw new Error('no trailer');
  const start = trailer.offset + block;
  const size = parseInt(bundle.toString('latin1', trailer.offset + 124, trailer.offset + 135), 8);
  const manifest = JSON.parse(bundle.toString('utf8', start, start + size)) as Manifest;
  const parts = manifest.members.map((entry) => ({
    entry,
    tar: bundle.subarray(entry.offset, entry.offset + entry.stored),
  }));
  return { manifest, parts };
}

/** The content of a plain member: its header is the last one before it. */
function contentOf({ entry, tar }: Part): Buffer {
  const start = entry.name === './vm.xml' ? 2 * block : block;
  return tar.subarray(start, start + entry.size);
}

function withContent({ entry, tar }: Part, content: Buffer): Buffer {
  const before = entry.name === './vm.xml' ? tar.subarray(0, block) : Buffer.alloc(0);
  return Buffer.concat([before, tarMember({ path: entry.name, data: content })]);
}

/** Writes the places and checksums of a disk's frames into its table, as far as the table has room for them. */
function frameTable(table: Buffer, start: number, stream: Buffer): void {
  if (table.length < headerSize) return;
  const frameSize = Number(table.readBigUInt64LE(24)) || stream.length;
  table.writeBigUInt64LE(BigInt(stream.length), 48);
  for (let n = 0; n * frameSize < stream.length; n++) {
    const at = headerSize + n * frameRecord;
    if (at + frameRecord > table.length) return;
    const part = stream.subarray(n * frameSize, (n + 1) * frameSize);
    table.writeBigUInt64LE(BigInt(start + n * frameSize), at);
    table.writeUInt32LE(part.length, at + 8);
    table.writeUInt32LE(crc32(part), at + 12);
  }
}

/** Changes one member of an uncompressed bundle, or the manifest, and makes all checksums right. */
export function forge(bundle: Buffer, chance: Chance): Buffer {
  const { manifest, parts } = takeApart(bundle);
  const victim = chance.of(parts);
  const { name } = victim.entry;
  const kind = chance.of(['member', 'member', 'member', 'manifest', 'both'] as const);
  const content = contentOf(victim);
  if (kind === 'member') {
    if (name.startsWith('./backup')) victim.tar = mutateTar(victim.tar, chance);
    else if (name.startsWith('./regions')) victim.tar = withContent(victim, mutateTable(content, chance));
    else victim.tar = withContent(victim, mutate(content, chance));
  } // prettier-ignore
  const about = parts.find(({ entry }) => entry.name === './about.json');
  if (kind === 'both' && about) {
    // The same change in about.json and in the manifest, which must agree.
    const value = JSON.parse(contentOf(about).toString()) as Record<string, unknown>;
    changeValue(value, chance);
    about.tar = withContent(about, Buffer.from(JSON.stringify(value)));
    Object.assign(manifest, { ...value, disks: mergedDisks(value['disks'], manifest) });
  }
  let offset = 0;
  const members = parts.map((part, n) => {
    const tableName = regionsMember(Number(/\d+$/.exec(part.entry.name)?.[0] ?? -1));
    const table = parts[n + 1];
    if (part.entry.name.startsWith('./backup') && table?.entry.name === tableName) {
      if (table !== victim || kind !== 'member' || chance.below(2) === 0) {
        const bytes = Buffer.from(contentOf(table));
        frameTable(bytes, offset, part.tar);
        table.tar = withContent(table, bytes);
      }
    }
    const length = part.tar.length;
    const place = { ...part.entry, offset, stored: length };
    offset += length;
    if (part.entry.frames === undefined) return place;
    const size = part === victim && kind === 'member' ? sizeIn(part) : part.entry.size;
    const sum = sha256(contentOf({ ...part, entry: { ...part.entry, size } })).toString('hex');
    const frames = [[place.offset, length, length, crc32(part.tar)]];
    return { ...place, size, frames, sha256: sum };
  });
  const forged: Record<string, unknown> = { ...manifest, members };
  if (kind === 'manifest') changeValue(forged, chance);
  const json = Buffer.from(JSON.stringify(forged));
  const last = Buffer.concat([tarMember({ path: './manifest.json', data: json }), endOfArchive]);
  const place = { offset, stored: last.length, crc32: crc32(last), sha256: sha256(json) };
  return Buffer.concat([
    ...parts.map(({ tar }) => tar),
    last,
    encodeTrailer({ compression: 'none', ...place }),
  ]);
}

/** The size in the header of a plain member. */
function sizeIn({ entry, tar }: Part): number {
  const at = entry.name === './vm.xml' ? block : 0;
  return parseInt(tar.toString('latin1', at + 124, at + 135), 8) || 0;
}

function mergedDisks(changed: unknown, { disks }: Manifest): unknown {
  if (!Array.isArray(changed)) return changed;
  return changed.map((disk: unknown, n) =>
    typeof disk === 'object' && disk !== null ? { ...disks[n], ...disk } : disk,
  );
}

function mutateTable(table: Buffer, chance: Chance): Buffer {
  if (chance.below(4) === 0) return mutate(table, chance);
  const bytes = Buffer.from(table);
  for (let times = chance.of([1, 1, 3]); times > 0; times--) {
    const offset = chance.below(bytes.length / 4) * 4;
    changeField(bytes, { offset, bytes: chance.of([1, 4, 8] as const) }, 'little', chance);
  }
  return bytes;
}
