// Caches blocks of a file on another machine.

/** Several frames are read at the same time, and blocks are read ahead for each. */
const mostBlocks = 64;

export class BlockCache {
  readonly #fetch: (index: number) => Promise<Buffer>;
  /** In the order of their last use: the most recently used block is the last one. */
  readonly #blocks = new Map<number, Promise<Buffer>>();

  /** @param fetch requests a block that is not in the cache; called in the order in which blocks are asked for */
  constructor(fetch: (index: number) => Promise<Buffer>) {
    this.#fetch = fetch;
  }

  has(index: number): boolean {
    return this.#blocks.has(index);
  }

  /** Returns a block, or rejects with the error of `fetch`. A caller that only reads ahead need not await the block. */
  get(index: number): Promise<Buffer> {
    const known = this.#blocks.get(index);
    if (known) this.#blocks.delete(index);
    const block = known ?? this.#fetch(index);
    // Whoever awaits the block gets the error. Without this, an error that nobody awaits would end the process.
    block.catch(() => undefined);
    this.#blocks.set(index, block);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > mostBlocks && oldest !== undefined) this.#blocks.delete(oldest);
    return block;
  }
}
