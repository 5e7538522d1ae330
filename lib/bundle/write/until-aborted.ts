// Makes reading interruptible while it waits. Otherwise a dead server could delay a Ctrl-C for ever.

/**
 * Yields the items of `source`. When `signal` is aborted, rejects with its reason at once, even while `source` waits for
 * something that never comes. `source` is then asked to end, but not waited for.
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
