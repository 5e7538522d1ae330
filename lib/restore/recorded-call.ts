// A call by which OpenNebula makes something that an undo would delete again.
import type { JournalEntry } from '../run/journal.ts';
import { isRefusal } from '../one/answers.ts';

/**
 * Makes a call whose way back is recorded in `entry`. A refusal has made nothing, so the entry is done. Without an answer
 * nobody knows, and it stays. @throws what `call` throws
 */
export async function recordedCall<T>(entry: JournalEntry, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (isRefusal(error)) await entry.done();
    throw error;
  }
}
