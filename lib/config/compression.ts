// The text of `--compress` and COMPRESS: gzip, zstd or none, with a level behind a colon.
import { UsageError } from '../report/errors.ts';
import type { CompressionChoice } from '../bundle/write/compressor.ts';

/** Lowest and highest level that any compressor of the format has; lib/tools picks one that has it. */
const levels = { gzip: [0, 9], zstd: [1, 19], none: undefined } as const;

/** @throws UsageError that says what was expected */
export function parseCompression(text: string): CompressionChoice {
  const [, name, digits] = /^(gzip|zstd|none)(?::(\d{1,2}))?$/.exec(text) ?? [];
  if (name === undefined) {
    throw new UsageError(
      `${JSON.stringify(text)} is no compression: expected gzip, zstd or none, or one with a level as in gzip:6`,
    );
  }
  const method = name as keyof typeof levels;
  if (digits === undefined) return { method };
  const range = levels[method];
  const level = Number(digits);
  if (!range) throw new UsageError('the compression none has no levels');
  const [lowest, highest] = range;
  if (level < lowest || level > highest) {
    throw new UsageError(`${method} has levels ${lowest} to ${highest}, not ${digits}`);
  }
  return { method, level };
}
