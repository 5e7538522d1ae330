// Reads a bundle in a file on another machine, at any position, through one ssh session. Blocks are cached and read
// ahead, because the latency of a network is much higher than that of a disk.
import type { Runner } from '../../run/runner.ts';
import type { BundleSource } from '../read/bundle.ts';
import { BlockCache } from './block-cache.ts';
import { startReading } from './host-file.ts';
import { RemoteReads, type FileHead } from './remote-reads.ts';

const blockSize = 1024 * 1024;
/** How many blocks are read ahead if one block is read after another. */
const ahead = 8;

/**
 * Opens a file for reading on the machine of `runner`.
 * @param name for messages: host:path.
 * @throws UsageError when there is no such file, or it is not a regular file; CommandError; ConnectionError
 */
export async function openSshSource(
  runner: Runner,
  path: string,
  name: string,
): Promise<BundleSource> {
  const reads = new RemoteReads(await startReading(runner, path), name);
  return new SshSource(name, await reads.head(), reads);
}

class SshSource implements BundleSource {
  readonly name: string;
  readonly size: number;
  readonly modified: Date;
  readonly #reads: RemoteReads;
  readonly #blocks = new BlockCache((index) => this.#request(index));

  constructor(name: string, { size, modified }: FileHead, reads: RemoteReads) {
    this.name = name;
    this.size = size;
    this.modified = modified;
    this.#reads = reads;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const end = Math.min(offset + length, this.size);
    if (end <= offset) return Buffer.alloc(0);
    const first = Math.floor(offset / blockSize);
    const last = Math.floor((end - 1) / blockSize);
    const beyond = this.#lastToAskFor(first, last);
    const wanted: Promise<Buffer>[] = [];
    for (let index = first; index <= beyond; index++) {
      const block = this.#blocks.get(index);
      if (index <= last) wanted.push(block);
    }
    const bytes = Buffer.concat(await Promise.all(wanted));
    return bytes.subarray(offset - first * blockSize, end - first * blockSize);
  }

  close(): Promise<void> {
    return this.#reads.close();
  }

  /** The last block that is needed, or a later one if one block is read after another. */
  #lastToAskFor(first: number, last: number): number {
    const goesOn = this.#blocks.has(first - 1) || last > first;
    return goesOn ? Math.min(last + ahead, Math.floor((this.size - 1) / blockSize)) : last;
  }

  #request(index: number): Promise<Buffer> {
    const offset = index * blockSize;
    return this.#reads.read(offset, Math.min(blockSize, this.size - offset));
  }
}
