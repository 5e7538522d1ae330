// What indexed-bundle.ts and scanned-bundle.ts have in common.
import { BundleError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { Bundle } from './bundle.ts';
import type { Compression } from '../compression/compressions.ts';

export interface OpenOptions {
  readonly log: Log;
  /** Ends every reading; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Opens also what is left of a bundle that lost its end: the whole disks before it (`Bundle.cut`). */
  readonly salvage?: boolean;
}

/** A bundle, and how it is read. */
export interface OpenedBundle extends Bundle {
  readonly compression: Compression;
  /** Whether it has an index; without one every pass reads the file from the front. */
  readonly indexed: boolean;
  /** Whether it had an index, which is damaged now; all else is there. */
  readonly indexLost: boolean;
}

/** An opened bundle without what it shares with its source. */
export type Opened = Omit<OpenedBundle, 'name' | 'modified' | 'close'>;

/** Bytes; far more than any VM's XML has. */
export const largestVmXml = 16 * 1024 * 1024;

/** A BundleError with `place` before its message, once; other errors as they are. */
export function placed(place: string, error: unknown): unknown {
  if (!(error instanceof BundleError) || error.message.startsWith(place)) return error;
  const { code, facts } = error;
  return new BundleError(`${place}: ${error.message}`, { code, facts, cause: error });
}
