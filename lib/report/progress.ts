// The progress of long tasks. Exports and restores report bytes. The implementation of Progress decides what is shown: bars on a
// terminal, log lines elsewhere, or nothing.

export interface ProgressTask {
  /** `bytes` more are done. Called often, so it must be cheap. */
  add(bytes: number): void;
  /** The task has ended, successfully or not. May be called twice. */
  end(): void;
}

export interface Progress {
  /** Begins a task; `total` is in bytes and may be 0. */
  begin(label: string, total: number): ProgressTask;
}

/** Shows nothing. */
export const silent: Progress = {
  begin: () => ({ add: () => undefined, end: () => undefined }),
};
