// The one place that makes values into words of a shell line: for messages that tell a person what to
// type, and for remote commands. Everything on this machine runs without a shell.

/** Quotes `word` for a POSIX shell; a plain word stays as it is. */
export function quote(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A program and its arguments as one shell line. */
export function quoteCommand(program: string, args: readonly string[]): string {
  return [program, ...args].map(quote).join(' ');
}

/**
 * Returns a line that gives a POSIX shell these words as its arguments. It contains no line break, so
 * that `read` can take it; line breaks inside words come from a variable, `nl`.
 * @throws Error for a word with a NUL, which no program can be given.
 */
export function quoteOnOneLine(words: readonly string[]): string {
  if (words.some((word) => word.includes('\0'))) throw new Error('an argument holds a NUL');
  // A line break is always inside single quotes, which can be closed before it and opened again after it.
  const quoted = words.map(quote).join(' ').replaceAll('\n', `'"$nl"'`);
  return `nl=$(printf '\\nx') nl=\${nl%x}; set -- ${quoted}`;
}
