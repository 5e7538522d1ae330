// Writes a bundle: members in the order they are added, then the manifest and the trailer. The format
// is documented in docs/bundle-format.md. Whoever opened the sink commits or discards it.
import { createHash } from 'node:crypto';
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { ProgressTask } from '../../report/progress.ts';
import { diskMember } from '../../vm/names.ts';
import { framesFrom } from '../format/frame-table.ts';
import type { About, DiskLayout, Frame, FrameList, ManifestDisk } from '../format/manifest.ts';
import { regionsMember } from '../format/manifest-parse.ts';
import { regionTable } from '../format/region-table-encode.ts';
import { encodeTrailer } from '../format/trailer.ts';
import type { BundleSink } from '../sink.ts';
import { announcedData } from './disk-data.ts';
import { layOutDisk } from './disk-member.ts';
import type { FrameCodec } from './compressor.ts';
import { frameSizeFor } from './frame-size.ts';
import { FrameWriter } from './frame-writer.ts';
import { readBack, readBackAbout, readBackPlaces } from './read-back.ts';
import { requireRoomInTable } from './table-room.ts';
import { TarWriter } from './tar-writer.ts';

/** What the writer has found out about a disk, for the manifest. */
export type WrittenDisk = Pick<ManifestDisk, 'virtualSize' | 'dataBytes' | 'checksum'>;

export interface BundleWriterOptions {
  /** Time of the export: the manifest's `created` and the time of all members. */
  readonly created: Date;
  /** Ends the work: every call then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Virtual size of the largest disk that will be added, in bytes. */
  readonly largestDisk?: number;
  readonly log: Log;
}

export class BundleWriter {
  readonly #sink: BundleSink;
  readonly #codec: FrameCodec;
  readonly #created: Date;
  readonly #signal: AbortSignal;
  readonly #log: Log;
  readonly #frames: FrameWriter;
  readonly #tar: TarWriter;
  /** As a reader reads it. */
  #about: About | undefined;

  constructor(sink: BundleSink, codec: FrameCodec, options: BundleWriterOptions) {
    this.#sink = sink;
    this.#codec = codec;
    this.#created = options.created;
    this.#signal = options.signal ?? new AbortController().signal;
    this.#log = options.log;
    const frameSize = frameSizeFor(codec.startsPrograms, options.largestDisk ?? 0);
    this.#frames = new FrameWriter(sink, codec, frameSize, this.#signal);
    this.#tar = new TarWriter(sink.name, this.#frames, this.#created);
    for (const choice of codec.choices) this.#log.debug(`bundle ${sink.name}: ${choice}`);
  }

  /**
   * Adds `./about.json`, the member after `./vm.xml`.
   * @throws FailedError when a reader would refuse it
   */
  async addAbout(about: About): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(about));
    this.#about = readBackAbout(this.#sink.name, bytes);
    await this.addFile('./about.json', bytes);
  }

  /** Adds a small file, such as `./vm.xml`. */
  async addFile(name: string, data: Uint8Array): Promise<void> {
    await this.#tar.file(name, data.length, [data]);
  }

  /**
   * Adds a disk, all of which is read from `reader`, and its region table. `task` counts the bytes of data; the caller
   * ends it.
   * @throws the reader's error; FailedError when the reader gives more or less than its map says
   */
  async addDisk(
    disk: { readonly id: number } & DiskLayout,
    reader: DiskReader,
    task: ProgressTask,
  ): Promise<WrittenDisk> {
    const name = diskMember(disk.id);
    const { virtualSize } = reader;
    const member = layOutDisk(name, disk, virtualSize, await reader.extents(), this.#created);
    const { dataBytes } = member.extents;
    requireRoomInTable(name, dataBytes);
    await this.#frames.cut();
    const hashing = await this.#frames.hashDisk(virtualSize);
    const streamStart = this.#frames.position;
    let dataStart = 0;
    const places = await this.#tar.member(name, member.size, async () => {
      for (const piece of member.head()) await this.#frames.write(piece);
      for (const piece of member.metadata()) await this.#frames.write(piece);
      dataStart = this.#frames.position - streamStart;
      for await (const { offset, data } of announcedData(disk.id, member, reader, this.#signal)) {
        await this.#frames.write(data, offset);
        task.add(data.length);
      }
      await this.#tar.zeros(member.filePadding + member.tarPadding);
    });
    const streamLength = this.#frames.position - streamStart;
    const all = await this.#frames.flush();
    const checksum = await hashing.end();
    const table = regionTable({
      virtualSize,
      extents: member.extents,
      hashes: hashing.hashes,
      frames: framesFrom(all, places.firstFrame, places.endFrame - places.firstFrame),
      frameSize: this.#frames.frameSize,
      streamLength,
      dataStart,
    });
    await this.#tar.file(regionsMember(disk.id), table.size, table.pieces());
    this.#log.debug(`${name}: ${dataBytes} bytes of data, ${this.#frames.count} frames so far`);
    return { virtualSize, dataBytes, checksum };
  }

  /**
   * Checks the manifest by the reader's own rules, and writes it and the trailer. Does not commit the sink.
   * @returns the size of the whole bundle in bytes
   * @throws FailedError when a reader would refuse the manifest
   */
  async finish(disks: readonly ManifestDisk[]): Promise<{ readonly size: number }> {
    const { compression } = this.#codec;
    const about = this.#about;
    if (!about) throw new FailedError('cannot finish the bundle: it has no about.json');
    const members = this.#tar.members(await this.#frames.flush());
    const bytes = Buffer.from(JSON.stringify({ ...about, compression, members, disks }));
    const checked = readBack(this.#sink.name, bytes, about);
    // In one frame, so that the trailer can point at it.
    await this.#tar.lastFile('./manifest.json', bytes);
    const [offset, stored, , crc32] = lastOf(await this.#frames.flush());
    const sha256 = createHash('sha256').update(bytes).digest();
    const place = { compression, offset, stored, crc32, sha256 };
    readBackPlaces(this.#sink.name, checked, place);
    const trailer = encodeTrailer(place);
    await this.#sink.write(trailer);
    await this.#frames.close();
    return { size: offset + stored + trailer.length };
  }

  /** Ends the worker threads. Never rejects; safe at any time, also after `finish`. */
  abort(): Promise<void> {
    return this.#frames.close();
  }
}

function lastOf(frames: FrameList): Frame {
  const last = frames.at(-1);
  if (!last) throw new FailedError('cannot finish the bundle: nothing was written');
  return last;
}
