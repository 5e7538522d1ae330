// Errors that no code has caught: lib/entrypoint.ts aborts the run with such an error, and what the run did is
// undone. The code in which the error occurred may never continue, so it is waited for only a while.

/** Wraps an uncaught error, its `cause`, after which the state of this program is unknown. */
export class Fault extends Error {
  constructor(cause: unknown) {
    super('an error was not caught', { cause });
  }
}

/** Aborted work ends within this time, unless the fault has stopped it for ever. */
const graceMs = 5000;

/**
 * Waits for the result of `work`. If a `Fault` aborts `signal` and the work does not end soon after, the work is
 * treated as dead and no longer waited for. After any other abort the work is waited for.
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
