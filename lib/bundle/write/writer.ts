// Writes a bundle: members in the order they are added, then the manifest and the trailer. The format
// is documented in docs/bundle-format.md. Whoever opened the sink commits or discards it.
import { createHash } from 'node:crypto';
import type { DiskReader } from '../../read/disk-reader.ts';
import { FailedError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { ProgressTask } from '../../report/progress.ts';
import { diskMember } from '../../vm/names.ts';
import {
  manifestVersion,
  type DiskLayout,
  type Frame,
  type Manifest,
  type ManifestDisk,
} from '../format/manifest.ts';
import { encodeTrailer } from '../format/trailer.ts';
import type { BundleSink } from '../sink.ts';
import { announcedData } from './disk-data.ts';
import { layOutDisk } from './disk-member.ts';
import { frameSize } from './frame-body.ts';
import type { FrameCodec } from './frame-codec.ts';
import { FrameWriter } from './frame-writer.ts';
import { requireRoomInIndex } from './index-room.ts';
import { readBack, readBackFrames } from './read-back.ts';
import { TarWriter } from './tar-writer.ts';

/** What the writer has found out about a disk, for the manifest. */
export type WrittenDisk = Pick<ManifestDisk, 'member' | 'virtualSize' | 'dataBytes' | 'sha256'>;

/** The same before the disk is read, as far as it is known. */
export function unwrittenDisk(id: number): WrittenDisk {
  return { member: diskMember(id), virtualSize: 0, dataBytes: 0, sha256: '0'.repeat(64) };
}

export interface BundleWriterOptions {
  /** Time of the export: the manifest's `created` and the time of all members. */
  readonly created: Date;
  /** Ends the work: every call then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
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

  constructor(sink: BundleSink, codec: FrameCodec, options: BundleWriterOptions) {
    this.#sink = sink;
    this.#codec = codec;
    this.#created = options.created;
    this.#signal = options.signal ?? new AbortController().signal;
    this.#log = options.log;
    this.#frames = new FrameWriter(sink, codec, this.#signal);
    this.#tar = new TarWriter(sink.name, this.#frames, this.#created);
    this.#log.debug(`bundle ${sink.name}: ${codec.name}`);
  }

  /** Adds a small file, `./vm.xml`. */
  async addFile(name: string, data: Uint8Array): Promise<void> {
    await this.#tar.member(name, data.length, () => this.#tar.file(name, data));
  }

  /**
   * Adds a disk, all of which is read from `reader`. `task` counts the bytes of data; the caller ends it.
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
    requireRoomInIndex(name, this.#frames.count * frameSize + dataBytes);
    const sha256 = createHash('sha256');
    await this.#tar.member(name, member.size, async () => {
      for (const piece of member.head()) await this.#frames.write(piece);
      for (const piece of member.metadata()) {
        sha256.update(piece);
        await this.#frames.write(piece);
      }
      // The frame writer no longer needs a piece once it has taken the next one.
      for await (const piece of announcedData(disk.id, member, reader, this.#signal)) {
        sha256.update(piece);
        await this.#frames.write(piece);
        task.add(piece.length);
      }
      await this.#tar.zeros(member.filePadding, sha256);
      await this.#tar.zeros(member.tarPadding);
    });
    this.#log.debug(`${name}: ${dataBytes} bytes of data, ${this.#frames.count} frames so far`);
    return { member: name, virtualSize, dataBytes, sha256: sha256.digest('hex') };
  }

  /**
   * Checks the manifest by the reader's own rules, and writes it and the trailer. Does not commit the sink.
   * @returns the size of the whole bundle in bytes
   * @throws FailedError when a reader would refuse the manifest
   */
  async finish(
    facts: Pick<Manifest, 'tool' | 'vm' | 'cloud' | 'consistency' | 'disks' | 'state' | 'leftOut'>,
  ): Promise<{ readonly size: number }> {
    const { compression } = this.#codec;
    const manifest = this.#manifest(facts, await this.#frames.flush());
    const bytes = Buffer.from(JSON.stringify(manifest));
    const checked = readBack(this.#sink.name, bytes);
    // In one frame, so that the trailer can point at it.
    await this.#tar.lastFile('./manifest.json', bytes);
    const [offset, stored, , crc32] = lastOf(await this.#frames.flush());
    const place = { compression, offset, stored, crc32 };
    readBackFrames(this.#sink.name, checked, place);
    const trailer = encodeTrailer(place);
    await this.#sink.write(trailer);
    await this.#frames.close();
    return { size: offset + stored + trailer.length };
  }

  /** Ends compressors and frees scratch files. Never rejects; safe at any time, also after `finish`. */
  abort(): Promise<void> {
    return this.#frames.close();
  }

  #manifest(
    { tool, vm, cloud, consistency, disks, state, leftOut }: Parameters<BundleWriter['finish']>[0],
    frames: readonly Frame[],
  ): Manifest {
    return {
      format: 'onevmdump',
      version: manifestVersion,
      tool,
      created: this.#created.toISOString(),
      compression: this.#codec.compression,
      vm,
      ...(cloud ? { cloud } : {}),
      consistency,
      members: this.#tar.members(frames),
      disks,
      ...(state && state.length > 0 ? { state } : {}),
      ...(leftOut ? { leftOut } : {}),
    };
  }
}

function lastOf(frames: readonly Frame[]): Frame {
  const last = frames.at(-1);
  if (!last) throw new FailedError('cannot finish the bundle: nothing was written');
  return last;
}
