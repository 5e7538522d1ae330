// Writes a bundle: members in the order they are added, then the manifest and the trailer. The format
// is documented in docs/bundle-format.md. Whoever opened the sink commits or discards it.
import { createHash } from 'node:crypto';
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError, UnsupportedError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { ProgressTask } from '../../report/progress.ts';
import { diskMember as memberName } from '../../vm/names.ts';
import { diskMember, type DiskLayout } from './disk-member.ts';
import type { FrameCodec } from './frame-codec.ts';
import { frameSize } from './frame-body.ts';
import { createFrameWriter } from './frame-writer.ts';
import { largestManifest } from '../format/manifest-parse.ts';
import { manifestVersion, type Frame, type Manifest } from '../format/manifest.ts';
import { readBack, readBackFrames } from './read-back.ts';
import type { BundleSink } from '../sink.ts';
import { endOfArchive, fileHeader, folderHeader, tarPadding } from '../format/tar-header.ts';
import { encodeTrailer } from '../format/trailer.ts';
import { untilAborted } from './until-aborted.ts';

/** What the writer found of a disk, for the manifest. */
export interface WrittenDisk {
  /** Name of the member. */
  readonly member: string;
  /** Bytes, as the guest sees it. */
  readonly virtualSize: number;
  /** Bytes read from the reader. */
  readonly dataBytes: number;
  /** Hex; see docs/bundle-format.md for what it covers. */
  readonly sha256: string;
}

export interface BundleWriter {
  /** Adds a small file, `./vm.xml`. */
  addFile(name: string, data: Uint8Array): Promise<void>;
  /**
   * Reads a disk to its end into the bundle. `task` counts the bytes of data; it is not ended here.
   * @throws the reader's error; FailedError when the reader gives more or less than its map says
   */
  addDisk(
    disk: { readonly id: number } & DiskLayout,
    reader: DiskReader,
    task: ProgressTask,
  ): Promise<WrittenDisk>;
  /**
   * Writes the manifest, read back by the reader's own rules, and the trailer. The sink is not committed.
   * @returns bytes of the whole bundle
   * @throws FailedError when a reader would refuse the manifest
   */
  finish(
    manifest: Pick<
      Manifest,
      'tool' | 'vm' | 'cloud' | 'consistency' | 'disks' | 'state' | 'leftOut'
    >,
  ): Promise<{ readonly size: number }>;
  /** Ends compressors and frees scratch files. Never rejects; safe at any time, also after `finish`. */
  abort(): Promise<void>;
}

export interface BundleWriterOptions {
  /** Time of the export: the manifest's `created` and the time of all members. */
  readonly created: Date;
  /** Ends everything; calls then reject with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly log: Log;
}

const zeros = Buffer.alloc(64 * 1024);
/** Bytes that a frame takes in the manifest, generously. */
const frameEntry = 48;

export function createBundleWriter(
  sink: BundleSink,
  codec: FrameCodec,
  { created, signal = new AbortController().signal, log }: BundleWriterOptions,
): BundleWriter {
  const frames = createFrameWriter(sink, codec, signal);
  /** Frames are known when they were appended; until then members know their numbers. */
  const members: { name: string; size: number; firstFrame: number; endFrame: number }[] = [];
  log.debug(`bundle ${sink.name}: ${codec.name}`);

  /** Runs `write` between two cuts and records what it wrote as a member. */
  async function member(name: string, size: number, write: () => Promise<void>): Promise<void> {
    if (members.some((other) => other.name === name)) {
      throw new FailedError(`cannot write ${sink.name}: ${name} would be in it twice`);
    }
    await frames.cut();
    const firstFrame = frames.count;
    if (members.length === 0) await frames.write(folderHeader(created));
    await write();
    members.push({ name, size, firstFrame, endFrame: frames.count });
  }

  async function writeZeros(length: number, each: (data: Uint8Array) => void = () => undefined) {
    for (let left = length; left > 0;) {
      const part = zeros.subarray(0, left);
      each(part);
      await frames.write(part);
      left -= part.length;
    }
  }

  async function writeFile(name: string, data: Uint8Array): Promise<void> {
    await frames.write(fileHeader(name, data.length, created));
    await frames.write(data);
    await writeZeros(tarPadding(data.length));
  }

  return {
    async addFile(name, data) {
      await member(name, data.length, () => writeFile(name, data));
    },

    async addDisk(disk, reader, task) {
      const name = memberName(disk.id);
      const { virtualSize } = reader;
      const layout = diskMember(name, disk, virtualSize, await reader.extents(), created);
      requireRoomInIndex(name, frames.count * frameSize + layout.dataBytes);
      const sha256 = createHash('sha256');
      let read = 0;
      let previous: Uint8Array | undefined;
      await member(name, layout.size, async () => {
        for (const piece of layout.head()) await frames.write(piece);
        for (const piece of layout.metadata()) {
          sha256.update(piece);
          await frames.write(piece);
        }
        for await (const piece of untilAborted(reader.read(layout.extents), signal)) {
          read += piece.length;
          if (read > layout.dataBytes) break;
          sha256.update(piece);
          await frames.write(piece);
          // The frame writer has done with a piece when it has taken the next one.
          if (previous) reader.recycle?.(previous);
          previous = piece;
          task.add(piece.length);
        }
        if (read !== layout.dataBytes) {
          throw new FailedError(
            `cannot dump disk ${disk.id}: its storage gave ${read > layout.dataBytes ? 'more' : 'less'} ` +
              `than the ${layout.dataBytes} bytes of data it had announced`,
          );
        }
        await writeZeros(layout.filePadding, (data) => sha256.update(data));
        await writeZeros(layout.tarPadding);
      });
      log.debug(`${name}: ${read} bytes of data, ${frames.count} frames so far`);
      return { member: name, virtualSize, dataBytes: read, sha256: sha256.digest('hex') };
    },

    async finish(manifest) {
      const written = await frames.flush();
      const json = JSON.stringify({
        format: 'onevmdump',
        version: manifestVersion,
        tool: manifest.tool,
        created: created.toISOString(),
        compression: codec.compression,
        vm: manifest.vm,
        ...(manifest.cloud ? { cloud: manifest.cloud } : {}),
        consistency: manifest.consistency,
        members: members.map(({ name, size, firstFrame, endFrame }) => ({
          name,
          size,
          frames: written.slice(firstFrame, endFrame),
        })),
        disks: manifest.disks,
        ...(manifest.state && manifest.state.length > 0 ? { state: manifest.state } : {}),
        ...(manifest.leftOut ? { leftOut: manifest.leftOut } : {}),
      } satisfies Manifest);
      const bytes = Buffer.from(json);
      const checked = readBack(sink.name, bytes);
      // One frame whatever its size, so that the trailer can point at it.
      await frames.cut(Infinity);
      await writeFile('./manifest.json', bytes);
      await frames.write(endOfArchive);
      const [offset, stored, , crc32] = lastOf(await frames.flush());
      const place = { compression: codec.compression, offset, stored, crc32 };
      readBackFrames(sink.name, checked, place);
      const trailer = encodeTrailer(place);
      await sink.write(trailer);
      await frames.close();
      return { size: offset + stored + trailer.length };
    },

    abort: () => frames.close(),
  };
}

/** Bytes of data that a bundle can hold: readers refuse a manifest with more frames. */
export const largestData = Math.floor(largestManifest / frameEntry) * frameSize;

/**
 * @param data bytes of all disks so far and of the next one
 * @throws UnsupportedError when a bundle cannot hold them, so that this is known before they are read
 */
export function requireRoomInIndex(name: string, data: number): void {
  if (data < largestData) return;
  const tib = Math.floor(largestData / 2 ** 40);
  throw new UnsupportedError(`cannot dump ${name}: a bundle holds at most ${tib} TiB of data`);
}

function lastOf(frames: readonly Frame[]): Frame {
  const last = frames.at(-1);
  if (!last) throw new FailedError('cannot finish the bundle: nothing was written');
  return last;
}
