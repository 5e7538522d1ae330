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

/**
 * Words that a POSIX shell gets as its arguments by running one line without a line break: what
 * `read` can take. Line breaks inside words come from a variable, `nl`.
 * @throws Error for a word with a NUL, which no program can be given.
 */
export function quoteOnOneLine(words: readonly string[]): string {
  if (words.some((word) => word.includes('\0'))) throw new Error('an argument holds a NUL');
  // A quoted line break is always between single quotes, so these can be closed and opened again.
  const quoted = words.map(quote).join(' ').replaceAll('\n', `'"$nl"'`);
  return `nl=$(printf '\\nx') nl=\${nl%x}; set -- ${quoted}`;
}
