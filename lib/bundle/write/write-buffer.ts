// Gathers small pieces into larger writes: a fragmented disk comes in pieces of a few kilobytes, and
// each write costs a round trip to a thread.

const gatherSize = 512 * 1024;
/** Pieces of at least this size are written directly. */
const largePiece = 128 * 1024;

/** Only one write runs at a time. Meanwhile the caller can work on the next piece. */
export class Gatherer {
  readonly #write: (data: Uint8Array) => Promise<void>;
  #gathered: Buffer | undefined;
  #used = 0;
  #underWay = Promise.resolve();

  constructor(write: (data: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  /** Appends. `data` may still be read until the next call has resolved. */
  async add(data: Uint8Array): Promise<void> {
    if (data.length >= largePiece) {
      await this.#startGathered();
      await this.#start(data);
      return;
    }
    if (this.#used + data.length > gatherSize) await this.#startGathered();
    await this.#underWay;
    this.#gathered ??= Buffer.allocUnsafeSlow(gatherSize);
    this.#gathered.set(data, this.#used);
    this.#used += data.length;
  }

  /** Resolves when everything added was written. */
  async flush(): Promise<void> {
    await this.#startGathered();
    await this.#underWay;
  }

  async #startGathered(): Promise<void> {
    if (!this.#gathered || this.#used === 0) return;
    const data = this.#gathered.subarray(0, this.#used);
    this.#gathered = undefined;
    this.#used = 0;
    await this.#start(data);
  }

  async #start(data: Uint8Array): Promise<void> {
    await this.#underWay;
    this.#underWay = this.#write(data);
    // The next write or flush throws its error.
    this.#underWay.catch(() => undefined);
  }
}
