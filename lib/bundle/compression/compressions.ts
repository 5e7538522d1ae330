// The table of compressions. To add one, write a file in this folder and enter it here: the settings, --compress, the
// names of bundles, the writer and the reader all ask this table. Names and extensions are stored in bundles and in their
// names: DO NOT CHANGE them.
import { UsageError } from '../../report/errors.ts';
import type { CompressionFormat, Levels } from './compression-format.ts';
import { gzip } from './gzip.ts';
import { none } from './none.ts';
import { zstd } from './zstd.ts';

const table = { gzip, zstd, none } as const satisfies Record<string, CompressionFormat>;

/** Its name, as in manifests, --compress and COMPRESS. */
export type Compression = keyof typeof table;

/** What onevmdump knows about each compression. */
export const compressions: Readonly<Record<Compression, CompressionFormat>> = table;

/** In the order in which help lists them, and in which the beginning of a file is compared with them. */
export const compressionNames = Object.keys(table) as readonly Compression[];

export const defaultCompression: Compression = 'gzip';

/** What a user has asked for. */
export interface CompressionChoice {
  readonly method: Compression;
  /** Undefined: the fastest level that still compresses. */
  readonly level?: number | undefined;
}

/** @throws UsageError when the compression does not have this level */
export function requireLevel({ method, level }: CompressionChoice): void {
  if (level === undefined) return;
  const levels = compressions[method].levels;
  if (!levels) throw new UsageError(`compression ${method} has no level`);
  if (hasLevel(levels, level)) return;
  throw new UsageError(
    `${method} has the levels ${levels.lowest} to ${levels.highest}, not ${level}`,
  );
}

/** Whether a level is a whole number within these bounds. */
export function hasLevel({ lowest, highest }: Levels, level: number): boolean {
  return Number.isInteger(level) && level >= lowest && level <= highest;
}

/** For help and messages: `gzip, zstd or none`. */
export const compressionsInWords = compressionNames.join(', ').replace(/, ([^,]*)$/, ' or $1');

/** For help and messages: `gzip has the levels 0 to 9, zstd 1 to 19`. */
export const levelsInWords = compressionNames
  .flatMap((name) => {
    const levels = compressions[name].levels;
    return levels ? [`${name} ${levels.lowest} to ${levels.highest}`] : [];
  })
  .join(', ')
  .replace(' ', ' has the levels ');
