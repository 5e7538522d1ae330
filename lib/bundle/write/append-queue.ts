// Appends the results of work in the order in which the work was begun, even if it ends in another order.

export class AppendQueue {
  #last = Promise.resolve();
  /** The work for which `oldest` has not waited yet. */
  #waiting: Promise<void>[] = [];
  readonly #running = new Set<Promise<unknown>>();

  /** How many frames `oldest` has not waited for yet. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Runs `work`, which appends a frame, after all earlier work. After an error, nothing more is appended. */
  append(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
    this.track(this.#last);
    this.#waiting.push(this.#last);
  }

  /** Makes `settled` wait for `work`. An error of `work` is thrown where `work` itself is awaited. */
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
