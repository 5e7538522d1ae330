// A call by which OpenNebula makes something that an undo would delete again.
import { OpenNebulaError } from '../report/errors.ts';
import type { JournalEntry } from '../run/journal.ts';

/**
 * Makes a call whose way back is recorded in `entry`. A refusal has made nothing, so the entry is done. Without an answer
 * nobody knows, and it stays. @throws what `call` throws
 */
export async function recordedCall<T>(entry: JournalEntry, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof OpenNebulaError && error.code !== undefined) await entry.done();
    throw error;
  }
}
