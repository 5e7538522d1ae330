// Whose words they are: most programs put their name before what they say themselves.

/** `<program>: <why>`, with the name once. */
export function saidBy(program: string, why: string): string {
  return why.startsWith(`${program}: `) ? why : `${program}: ${why}`;
}
