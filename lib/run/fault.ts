// Errors of this program that nobody has caught: lib/entrypoint.ts aborts the run with one, and what the run did
// is undone. The code that was to go on may never do so, since the error has ended it half-way.

/** An error that nobody has caught, its `cause`; the state of this program is not known after it. */
export class Fault extends Error {
  constructor(cause: unknown) {
    super('an error was not caught', { cause });
  }
}

/** Work that is aborted ends within this time, unless nothing is left that would end it. */
const graceMs = 5000;

/**
 * The result of `work`. When `signal` was aborted by a `Fault` and the work does not end soon after, it is taken
 * for dead and not waited for any longer; other reasons wait for the work.
 * @throws what the work throws; the fault
 */
export async function unlessFaulted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  waitMs = graceMs,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const dead = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      const reason: unknown = signal.reason;
      if (reason instanceof Fault) timer = setTimeout(() => reject(reason), waitMs);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, dead]);
  } finally {
    clearTimeout(timer);
    if (onAbort) signal.removeEventListener('abort', onAbort);
  }
}
