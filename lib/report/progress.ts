// How far a long task has come. The bundle and the restore report bytes; what is shown, and where,
// is decided by the one who made the Progress (bars on a terminal, log lines elsewhere, or nothing).

export interface ProgressTask {
  /** `bytes` more are done. Called often: must be cheap. */
  add(bytes: number): void;
  /** The task has ended, well or not. May be called twice. */
  end(): void;
}

export interface Progress {
  /** Begins a task; `total` is in bytes and may be 0. */
  begin(label: string, total: number): ProgressTask;
}

/** Reports to nobody. */
export const silent: Progress = {
  begin: () => ({ add: () => undefined, end: () => undefined }),
};
