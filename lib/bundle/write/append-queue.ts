// Does work in the order in which it was given, one after another.

export class AppendQueue {
  #last = Promise.resolve();

  /** Runs `work` after all earlier work. After an error, nothing more is done. */
  append(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
    // `all` throws it.
    this.#last.catch(() => undefined);
  }

  /** Waits for all work. @throws the first error */
  async all(): Promise<void> {
    await this.#last;
  }

  /** Resolves when nothing runs any more, whether it failed or not. */
  async settled(): Promise<void> {
    await this.#last.catch(() => undefined);
  }
}
