// Reads the region table of a disk, of an indexed bundle. Any record is found without reading the others.
import { BundleError } from '../../report/errors.ts';
import { FrameTable, framesFrom } from '../format/frame-table.ts';
import { regionsMember } from '../format/manifest-parse.ts';
import type { Frame, Manifest, ManifestDisk, ManifestMember } from '../format/manifest.ts';
import { regionCount, regionSizeOf } from '../format/disk-checksum.ts';
import {
  decodeFrame,
  decodeRegion,
  decodeTableHeader,
  frameRecord,
  headerSize,
  regionRecord,
  runRecord,
  runSector,
  tableParts,
} from '../format/region-table.ts';
import type { BundleSource } from './bundle.ts';
import type { RegionTable, StoredRun } from './disk-regions.ts';
import { frameBytes } from './frame-stream.ts';
import { checkFrames, memberNamed } from './member-places.ts';

/** Bytes of the tar header before the content of a plain member. */
const tarHeader = 512;
/** Bytes of records that are read at once. */
const atOnce = 1024 * 1024;

/** @throws BundleError when the table is damaged */
export async function openRegionTable(
  source: BundleSource,
  manifest: Manifest,
  disk: ManifestDisk,
  signal?: AbortSignal,
): Promise<RegionTable> {
  const member = memberNamed(manifest, regionsMember(disk.id));
  const read = contentOf(source, manifest, member, signal);
  const header = decodeTableHeader(await read(0, headerSize), member.size);
  if (header.virtualSize !== disk.virtualSize) {
    throw new BundleError(`the region table of disk ${disk.id} is of a disk of another size`);
  }
  const parts = tableParts(header);
  const count = regionCount(disk.virtualSize);
  const regionSize = regionSizeOf(disk.virtualSize);
  const place = `the region table of disk ${disk.id}`;
  const { offset: start, stored: storedBytes } = memberNamed(manifest, disk.member);
  const frameAt = (bytes: Buffer, at: number, index: number): Frame => {
    const { offset, stored, crc32 } = decodeFrame(bytes, at);
    const length = Math.min(header.frameSize, header.streamLength - index * header.frameSize);
    return [offset, stored, length, crc32];
  };
  return {
    header,
    regionSize,
    count,
    async frames() {
      const frames = new FrameTable();
      for await (const bytes of records(read, frameRecord, parts.frames, header.frames)) {
        for (let at = 0; at < bytes.length; at += frameRecord) {
          frames.push(frameAt(bytes, at, frames.length));
        }
      }
      const { compression } = manifest;
      checkFrames(place, frames, { offset: start, end: start + storedBytes, compression });
      return frames;
    },
    async frame(index) {
      if (index >= header.frames) throw new BundleError(`${place} has no frame ${index}`);
      const bytes = await read(parts.frames + index * frameRecord, frameRecord);
      const frame = frameAt(bytes, 0, index);
      const [offset, stored] = frame;
      if (offset >= start && offset + stored <= start + storedBytes && stored > 0) return frame;
      throw new BundleError(`${place}: frame ${index} is not within its member`);
    },
    async *regions() {
      for await (const bytes of records(read, regionRecord, parts.regions, count)) {
        for (let at = 0; at < bytes.length; at += regionRecord) {
          yield decodeRegion(bytes, at, header);
        }
      }
    },
    async region(index) {
      if (!(index >= 0 && index < count)) throw new BundleError(`${place} has no region ${index}`);
      const bytes = await read(parts.regions + index * regionRecord, regionRecord);
      return decodeRegion(bytes, 0, header);
    },
    async runs(index, { firstRun, runs }) {
      const length = Math.min(regionSize, disk.virtualSize - index * regionSize);
      const bytes = await read(parts.runs + firstRun * runRecord, runs * runRecord);
      return decodeRuns(bytes, length);
    },
  };
}

function decodeRuns(bytes: Buffer, regionLength: number): readonly StoredRun[] {
  const runs: StoredRun[] = [];
  let end = 0;
  for (let at = 0; at < bytes.length; at += runRecord) {
    const start = bytes.readUInt32LE(at) * runSector;
    const length = Math.min(bytes.readUInt32LE(at + 4) * runSector, regionLength - start);
    if (start < end || length <= 0) throw new BundleError('a run of its region table is wrong');
    runs.push({ start, length });
    end = start + length;
  }
  return runs;
}

type ReadAt = (offset: number, length: number) => Promise<Buffer>;

async function* records(read: ReadAt, size: number, start: number, count: number) {
  const most = Math.floor(atOnce / size);
  for (let done = 0; done < count; done += most) {
    const some = Math.min(most, count - done);
    yield read(start + done * size, some * size);
  }
}

/** Reads bytes of a plain member from its frames. The last frame that was read is kept. */
function contentOf(
  source: BundleSource,
  { compression }: Manifest,
  { name, frames = [], size }: ManifestMember,
  signal: AbortSignal | undefined,
): ReadAt {
  const label = name;
  let kept: { readonly index: number; readonly bytes: Buffer } | undefined;
  const frameAt = async (index: number): Promise<Buffer> => {
    if (kept?.index === index) return kept.bytes;
    const one = framesFrom(frames, index, 1);
    const parts: Buffer[] = [];
    for await (const part of frameBytes(source, compression, one, {
      label,
      first: index,
      parallel: 1,
      signal,
    }))
      parts.push(Buffer.from(part));
    const bytes = Buffer.concat(parts);
    kept = { index, bytes };
    return bytes;
  };
  return async (offset, length) => {
    if (offset + length > size) throw new BundleError(`${label} ends early`);
    const result = Buffer.alloc(length);
    let done = 0;
    let start = 0;
    for (const [index, [, , frameLength]] of [...frames].entries()) {
      const from = tarHeader + offset + done - start;
      start += frameLength;
      if (from >= frameLength) continue;
      const bytes = await frameAt(index);
      done += bytes.copy(result, done, from, from + length - done);
      if (done === length) return result;
    }
    if (done < length) throw new BundleError(`${label} ends early`);
    return result;
  };
}
