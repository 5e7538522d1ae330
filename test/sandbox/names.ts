/** Why oned refuses a name (PoolObjectSQL::name_is_valid); undefined for a good one. */
export function invalidName(name: string): string | undefined {
  if (name === '') return 'Invalid NAME, it cannot be empty';
  const bad = /[&|:\\";/'#{}$<>\t\n\v\f\r]/.exec(name)?.[0];
  if (bad !== undefined) return `Invalid NAME, char '${bad}' is not allowed`;
  return Buffer.byteLength(name) > 128 ? 'Invalid NAME, max length is 128 chars' : undefined;
}
