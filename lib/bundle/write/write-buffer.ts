// Gathers small pieces into larger writes: a fragmented disk comes in pieces of a few kilobytes, and
// each write costs a trip through a thread.

export interface Gatherer {
  /** Appends. `data` may still be read until the next call has resolved. */
  add(data: Uint8Array): Promise<void>;
  /** Resolves when everything added was written. */
  flush(): Promise<void>;
}

const gatherSize = 512 * 1024;
/** Pieces from this size on are written as they are. */
const largePiece = 128 * 1024;

/** One write is under way at a time, while the caller already works on the next piece. */
export function createGatherer(write: (data: Uint8Array) => Promise<void>): Gatherer {
  let gathered: Buffer | undefined;
  let used = 0;
  let underWay = Promise.resolve();

  async function start(data: Uint8Array): Promise<void> {
    await underWay;
    underWay = write(data);
    // Its error surfaces with the next write or flush.
    underWay.catch(() => undefined);
  }

  async function startGathered(): Promise<void> {
    if (!gathered || used === 0) return;
    const data = gathered.subarray(0, used);
    gathered = undefined;
    used = 0;
    await start(data);
  }

  return {
    async add(data) {
      if (data.length >= largePiece) {
        await startGathered();
        await start(data);
        return;
      }
      if (used + data.length > gatherSize) await startGathered();
      await underWay;
      gathered ??= Buffer.allocUnsafeSlow(gatherSize);
      gathered.set(data, used);
      used += data.length;
    },
    async flush() {
      await startGathered();
      await underWay;
    },
  };
}
