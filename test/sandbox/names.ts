// Source: PoolObjectSQL::name_is_valid and INVALID_NAME_CHARS, read in 6.4.7, 6.10.4, 6.10.5 and 7.4.0.
import type { Release } from './release.ts';

/** Why oned refuses a name; undefined for a good one. Its length is counted in bytes. */
export function invalidName(name: string, release: Release): string | undefined {
  if (name === '') return 'Invalid NAME, it cannot be empty';
  const forbidden = release.atLeast('6.10.4') ? /[&|:\\";/'#{}$<>\t\n\v\f\r]/ : /[&|:\\";/'#{}$<>]/;
  const bad = forbidden.exec(name)?.[0];
  if (bad !== undefined) return `Invalid NAME, char '${bad}' is not allowed`;
  return Buffer.byteLength(name) > 128 ? 'Invalid NAME, max length is 128 chars' : undefined;
}
