// A call that makes an object in OpenNebula, whose undo is already in the journal.
import type { JournalEntry } from '../run/journal.ts';
import { isRefusal } from '../one/answers.ts';

/**
 * Makes a call whose undo is `entry`. When OpenNebula refuses, nothing was made, and the entry is done. When no answer
 * comes, the object may exist, and the entry stays.
 * @throws what `call` throws
 */
export async function recordedCall<T>(entry: JournalEntry, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (isRefusal(error)) await entry.done();
    throw error;
  }
}
