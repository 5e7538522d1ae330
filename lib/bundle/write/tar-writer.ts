// Writes the tar archive of a bundle: one member after another. Each begins with a new frame.
import type { Hash } from 'node:crypto';
import { FailedError } from '../../report/errors.ts';
import type { Frame, Manifest } from '../format/manifest.ts';
import { endOfArchive, fileHeader, folderHeader, tarPadding } from '../format/tar-header.ts';
import type { FrameWriter } from './frame-writer.ts';

/** A member that was written. Until its frames are in the sink, only their numbers are known. */
interface Member {
  readonly name: string;
  readonly size: number;
  readonly firstFrame: number;
  readonly endFrame: number;
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
   * Calls `write` after a cut, and records the frames that it writes as a member.
   * @param size bytes of the file once extracted
   * @throws FailedError when there is a member with this name
   */
  async member(name: string, size: number, write: () => Promise<void>): Promise<void> {
    if (this.#members.some((other) => other.name === name)) {
      throw new FailedError(`cannot write ${this.#bundle}: ${name} would be in it twice`);
    }
    await this.#frames.cut();
    const firstFrame = this.#frames.count;
    if (this.#members.length === 0) await this.#frames.write(folderHeader(this.#created));
    await write();
    this.#members.push({ name, size, firstFrame, endFrame: this.#frames.count });
  }

  /** Writes a small file, with its header. */
  async file(name: string, data: Uint8Array): Promise<void> {
    await this.#frames.write(fileHeader(name, data.length, this.#created));
    await this.#frames.write(data);
    await this.zeros(tarPadding(data.length));
  }

  /** Writes `length` zeros. @param sha256 is updated with them */
  async zeros(length: number, sha256?: Hash): Promise<void> {
    for (let left = length; left > 0;) {
      const part = zeros.subarray(0, left);
      sha256?.update(part);
      await this.#frames.write(part);
      left -= part.length;
    }
  }

  /** Writes the last file and the end of the archive in one frame, whatever its size. */
  async lastFile(name: string, data: Uint8Array): Promise<void> {
    await this.#frames.cut(Infinity);
    await this.file(name, data);
    await this.#frames.write(endOfArchive);
  }

  /** The members for the manifest. @param frames the places of all frames so far */
  members(frames: readonly Frame[]): Manifest['members'] {
    return this.#members.map(({ name, size, firstFrame, endFrame }) => ({
      name,
      size,
      frames: frames.slice(firstFrame, endFrame),
    }));
  }
}
