// The one place where a value becomes a word of a shell line: for messages that tell a person what
// to type, and for remote commands. Everything local runs without a shell.

/** `word` as one POSIX shell word; plain words stay readable. */
export function quote(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A program and its arguments as one shell line. */
export function quoteCommand(program: string, args: readonly string[]): string {
  return [program, ...args].map(quote).join(' ');
}
