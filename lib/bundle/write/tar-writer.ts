// Writes the tar archive of a bundle: one member after another. Each begins with a new frame.
import { createHash } from 'node:crypto';
import { FailedError } from '../../report/errors.ts';
import { framesFrom } from '../format/frame-table.ts';
import type { FrameList, ManifestMember } from '../format/manifest.ts';
import { endOfArchive, fileHeader, folderHeader, tarPadding } from '../format/tar-header.ts';
import type { FrameWriter } from './frame-writer.ts';

/** A member that was written. Until its frames are in the sink, only their numbers are known. */
interface Member {
  readonly name: string;
  readonly size: number;
  readonly firstFrame: number;
  readonly endFrame: number;
  /** Of its content; undefined for a disk. */
  readonly sha256: string | undefined;
}

const zeros = Buffer.alloc(64 * 1024);

export class TarWriter {
  readonly #bundle: string;
  readonly #frames: FrameWriter;
  readonly #created: Date;
  readonly #members: Member[] = [];

  /** @param bundle its name, for messages. @param created the time of all members */
  constructor(bundle: string, frames: FrameWriter, created: Date) {
    this.#bundle = bundle;
    this.#frames = frames;
    this.#created = created;
  }

  /**
   * Calls `write`, which writes the headers and the content of a member, after a cut.
   * @param size bytes of the file once extracted
   * @returns the numbers of the first of its frames and of the one after its last
   * @throws FailedError when there is a member with this name
   */
  async member(
    name: string,
    size: number,
    write: () => Promise<void>,
    sha256?: () => string,
  ): Promise<Pick<Member, 'firstFrame' | 'endFrame'>> {
    if (this.#members.some((other) => other.name === name)) {
      throw new FailedError(`cannot write ${this.#bundle}: ${name} would be in it twice`);
    }
    await this.#frames.cut();
    const firstFrame = this.#frames.count;
    if (this.#members.length === 0) await this.#frames.write(folderHeader(this.#created));
    await write();
    const places = { firstFrame, endFrame: this.#frames.count };
    this.#members.push({ name, size, ...places, sha256: sha256?.() });
    return places;
  }

  /** Adds a file whose size is known, with its checksum. */
  async file(name: string, size: number, pieces: Iterable<Uint8Array>): Promise<void> {
    const hash = createHash('sha256');
    const write = async () => {
      await this.#frames.write(fileHeader(name, size, this.#created));
      for (const piece of pieces) {
        hash.update(piece);
        await this.#frames.write(piece);
      }
      await this.zeros(tarPadding(size));
    };
    await this.member(name, size, write, () => hash.digest('hex'));
  }

  /** Writes `length` zeros. */
  async zeros(length: number): Promise<void> {
    for (let left = length; left > 0; left -= zeros.length) {
      await this.#frames.write(zeros.subarray(0, left));
    }
  }

  /** Writes the last file and the end of the archive in one frame. @throws FailedError when they do not fit */
  async lastFile(name: string, data: Uint8Array): Promise<void> {
    await this.#frames.cut();
    const { count } = this.#frames;
    await this.#frames.write(fileHeader(name, data.length, this.#created));
    await this.#frames.write(data);
    await this.zeros(tarPadding(data.length));
    await this.#frames.write(endOfArchive);
    if (this.#frames.count === count + 1) return;
    throw new FailedError(`cannot write ${this.#bundle}: ${name} is too large`);
  }

  /** The members for the manifest. @param places of all frames so far */
  members(places: FrameList): readonly ManifestMember[] {
    return this.#members.map(({ name, size, firstFrame, endFrame, sha256 }) => {
      const [first, last] = [places.at(firstFrame), places.at(endFrame - 1)];
      if (!first || !last) throw new FailedError(`cannot write ${this.#bundle}: ${name} is empty`);
      const [offset] = first;
      const stored = last[0] + last[1] - offset;
      if (sha256 === undefined) return { name, size, offset, stored };
      const frames = [...framesFrom(places, firstFrame, endFrame - firstFrame)];
      return { name, size, offset, stored, frames, sha256 };
    });
  }
}
