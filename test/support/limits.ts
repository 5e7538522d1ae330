// All time limits of the tests, in one place. A limit ends what hangs, and is never a measure of speed: each is at least
// ten times what its longest user took on a slow, busy machine. How fast something is, bench/ says.
import { setTimeout as sleep } from 'node:timers/promises';

const second = 1000;
const minute = 60 * second;

export const limits = {
  /** One test, or one hook of a test file, of `npm test`'s quick part. */
  testMs: 20 * minute,
  /** One test, or one hook, with real components. */
  labTestMs: 60 * minute,
  /** An export that is ended or killed at each of its commands in turn. */
  sweepMs: 180 * minute,
  /** Ten thousand mutated bundles: by hand, ONEVMDUMP_FUZZ=long. */
  fuzzMs: 480 * minute,
  /** One program that a test runs, or one question to a guest. */
  programMs: 10 * minute,
  /** A lab's start, from an empty folder: packages, a download. */
  labStartMs: 40 * minute,
  /** An answer of the OpenNebula stand-in. */
  answerMs: 5 * minute,
  /** Something that is about to happen by itself: a process that ends, a guest that goes on. */
  soonMs: 3 * minute,
} as const;

/**
 * Waits until something has happened by itself.
 * @param what for the message: `the guest writes`
 * @throws Error when it has not happened after `limits.soonMs`
 */
export async function until(
  what: string,
  happened: () => boolean | Promise<boolean>,
  pollMs = 100,
): Promise<void> {
  const end = performance.now() + limits.soonMs;
  while (!(await happened())) {
    if (performance.now() > end) throw new Error(`in vain waited until ${what}`);
    await sleep(pollMs);
  }
}
