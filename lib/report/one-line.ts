// Makes texts fit to be shown to a person. They may quote anything: names from a bundle, what a program printed.

/** Characters of the longest message of an error. */
const longestMessage = 10_000;

/** Cuts off what makes a message too long for anybody to read. */
export function shortened(message: string): string {
  return message.length <= longestMessage ? message : `${message.slice(0, longestMessage)}...`;
}

/**
 * The text in one line. Control characters, which a terminal would obey, and marks that change the direction of the text
 * become spaces.
 */
export function inOneLine(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  const kept = lines.filter((line) => line !== '').join(' ');
  return kept.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, ' ');
}
