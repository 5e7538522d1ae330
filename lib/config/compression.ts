// Parses the value of `--compress` and COMPRESS: the name of a compression; a level may follow after a colon.
import {
  compressionNames,
  compressionsInWords,
  requireLevel,
  type CompressionChoice,
} from '../bundle/compression/compressions.ts';
import { UsageError } from '../report/errors.ts';

/** @throws UsageError that says what was expected */
export function parseCompression(text: string): CompressionChoice {
  const [, name, digits] = /^([^:]+)(?::(\d{1,2}))?$/.exec(text) ?? [];
  const method = compressionNames.find((known) => known === name);
  if (method === undefined) {
    throw new UsageError(
      `${JSON.stringify(text)} is no compression: expected ${compressionsInWords}, or one with a level as in gzip:6`,
    );
  }
  if (digits === undefined) return { method };
  const choice = { method, level: Number(digits) };
  requireLevel(choice);
  return choice;
}
