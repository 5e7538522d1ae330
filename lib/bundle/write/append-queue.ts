// Appends the results of work that ends in any order, in the order in which it was begun.

export class AppendQueue {
  #last = Promise.resolve();
  /** What `oldest` has not waited for yet. */
  #waiting: Promise<void>[] = [];
  readonly #running = new Set<Promise<unknown>>();

  /** How many have to be waited for. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Lets `work` append a frame after those before it. After an error nothing more is appended. */
  append(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
    this.track(this.#last);
    this.#waiting.push(this.#last);
  }

  /** Has `settled` wait for `work`, whose error surfaces where it is awaited. */
  track(work: Promise<unknown>): void {
    this.#running.add(work);
    const ended = () => void this.#running.delete(work);
    work.then(ended, ended);
  }

  /** Waits for the oldest frame; after a failure every call rejects with the first error. */
  async oldest(): Promise<void> {
    await (this.#waiting.shift() ?? this.#last);
  }

  /** Waits for all frames. @throws the first error */
  async all(): Promise<void> {
    await this.#last;
    this.#waiting = [];
  }

  /** Resolves when nothing runs any more, whether it failed or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}
