// Blocks of a file that were read from far away, kept for a while.

/** Several frames are read side by side, each with its blocks ahead. */
const mostBlocks = 64;

export class BlockCache {
  readonly #fetch: (index: number) => Promise<Buffer>;
  /** From the one that was used longest ago to the one used last. */
  readonly #blocks = new Map<number, Promise<Buffer>>();

  /** @param fetch asks for a block that is not kept; called in the order in which they are wanted */
  constructor(fetch: (index: number) => Promise<Buffer>) {
    this.#fetch = fetch;
  }

  has(index: number): boolean {
    return this.#blocks.has(index);
  }

  /** A block, or the error of fetching it. A caller that does not need it yet may leave it alone. */
  get(index: number): Promise<Buffer> {
    const known = this.#blocks.get(index);
    if (known) this.#blocks.delete(index);
    const block = known ?? this.#fetch(index);
    // Whoever waits for it gets the failure; when nobody does, it is no crash.
    block.catch(() => undefined);
    this.#blocks.set(index, block);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > mostBlocks && oldest !== undefined) this.#blocks.delete(oldest);
    return block;
  }
}
