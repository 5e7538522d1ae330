// Reading that can be interrupted while it waits: a dead server would hold up a Ctrl-C for ever.

/**
 * The items of `source`. When `signal` is aborted, rejects with its reason at once, also while `source`
 * is waiting for something that never comes; `source` is asked to end and not waited for then.
 */
export async function* untilAborted<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const end = () => iterator.return?.();
  let ended = false;
  try {
    for (;;) {
      const item = await orAborted(iterator.next(), signal);
      if (item.done) {
        ended = true;
        return;
      }
      yield item.value;
    }
  } catch (error) {
    ended = true;
    void Promise.resolve(end()).catch(() => undefined);
    throw error;
  } finally {
    if (!ended) await end();
  }
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason as Error);
    if (signal.aborted) aborted();
    signal.addEventListener('abort', aborted);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}
