// Where a bundle is written: a local file, or a file on another machine.

export interface BundleSink {
  /** For messages: the path that the finished bundle will have. */
  readonly name: string;
  /** Appends. Once it has resolved, the buffer may be used again. */
  write(data: Uint8Array): Promise<void>;
  /** Flushes to disk and gives the file its name. Rejects if a file with that name exists by now. */
  commit(): Promise<void>;
  /** Closes and removes what was written. Safe after a failure, after commit, and when called twice. */
  discard(): Promise<void>;
}
