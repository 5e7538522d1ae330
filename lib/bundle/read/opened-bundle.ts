// Types and helpers that indexed-bundle.ts and scanned-bundle.ts share.
import { BundleError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { Bundle } from './bundle.ts';
import type { Compression } from '../compression/compressions.ts';

export interface OpenOptions {
  readonly log: Log;
  /** Makes every read reject with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Also opens a bundle that lost its end, with the complete disks before it (`Bundle.cut`). */
  readonly salvage?: boolean;
}

/** A bundle, and facts about how it is read. */
export interface OpenedBundle extends Bundle {
  readonly compression: Compression;
  /** Whether the bundle has an index; without one every pass reads the file from the front. */
  readonly indexed: boolean;
  /** Whether only the index of the bundle is damaged. */
  readonly indexLost: boolean;
}

/** An opened bundle without the fields that come from its source. */
export type OpenedContent = Omit<OpenedBundle, 'name' | 'modified' | 'close'>;

/** Bytes; far more than the XML of any VM. */
export const largestVmXml = 16 * 1024 * 1024;

/** A BundleError with `place` before its message, unless it is there already; any other error unchanged. */
export function prefixError(place: string, error: unknown): unknown {
  if (!(error instanceof BundleError) || error.message.startsWith(place)) return error;
  const { code, facts } = error;
  return new BundleError(`${place}: ${error.message}`, { code, facts, cause: error });
}
