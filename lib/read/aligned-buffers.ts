// Memory for reads with O_DIRECT, which must begin at a multiple of the device's logical blocks: open(2).

/** Bytes: WebAssembly.Memory has its size in these. */
const wasmPage = 64 * 1024;

/** Part of Node.js, but not of its types. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  };
};

/** A few buffers that are used in turn. */
export class AlignedBuffers {
  readonly #free: Uint8Array[];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];

  /** @param length bytes of each, a multiple of 64 KiB */
  constructor(count: number, length: number) {
    // Node.js cannot tell where a Buffer begins. The memory of WebAssembly always begins at a page.
    const { buffer } = new WebAssembly.Memory({ initial: (count * length) / wasmPage });
    this.#free = Array.from(
      { length: count },
      (_, n) => new Uint8Array(buffer, n * length, length),
    );
  }

  /** Calls `use` with a buffer, as soon as one is free, which is free again when `use` has ended. */
  async with(use: (buffer: Uint8Array) => Promise<void>): Promise<void> {
    const buffer = this.#free.pop() ?? (await new Promise<Uint8Array>((free) => this.#waiting.push(free))); // prettier-ignore
    try {
      await use(buffer);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(buffer);
      else this.#free.push(buffer);
    }
  }
}
