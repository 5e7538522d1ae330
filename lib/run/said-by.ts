// Puts a program's name before its message, which most programs do themselves.

/** `<program>: <why>`, with the name once. */
export function saidBy(program: string, why: string): string {
  return why.startsWith(`${program}: `) ? why : `${program}: ${why}`;
}
