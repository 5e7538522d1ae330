// Where a bundle is written: a local file, or a file on another machine.

export interface BundleSink {
  /** Printable: the path the finished bundle will have. */
  readonly name: string;
  /** Appends. Resolves when the bytes were taken over; the buffer may be used again then. */
  write(data: Uint8Array): Promise<void>;
  /** Flushes to disk and gives the file its name. Refuses when the name is taken by now. */
  commit(): Promise<void>;
  /** Closes and removes what was written. Safe after a failure, after commit, and when called twice. */
  discard(): Promise<void>;
}
