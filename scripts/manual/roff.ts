// Writes a man page in the man(7) macros. It only uses macros and escapes that both groff and mandoc know. Text never
// becomes the argument of a macro, except in headings.

/** Quoted `words` and options are bold. */
function marked(text: string): string {
  return text
    .split(/(`[^`]*`|(?<![\w-])--?[a-z][\w-]*)/)
    .map((part, index) => (index % 2 === 0 ? escaped(part) : bold(part.replaceAll('`', ''))))
    .join('');
}

function escaped(text: string): string {
  return (
    text
      .replaceAll('\\', '\\(rs')
      .replaceAll('`', '\\(ga')
      .replaceAll(' - ', ' \\(en ')
      // A list without spaces may be broken after its commas.
      .replaceAll(/,(?=\S)/g, ',\\:')
  );
}

/** For text that a reader copies: every character is printed as itself. */
function literal(text: string): string {
  return text
    .replaceAll('\\', '\\(rs')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti');
}

export function bold(text: string): string {
  return `\\fB${literal(text)}\\fP`;
}

export function italic(text: string): string {
  return `\\fI${literal(text)}\\fP`;
}

/** Without the escape, a line that begins like a macro would be treated as one. */
function line(text: string): string {
  return /^[.']/.test(text) ? `\\&${text}` : text;
}

export interface ManPage {
  /** `text` is passed through `marked`, except in headings and in `formatted`. */
  heading(text: string): void;
  subheading(text: string): void;
  paragraph(text: string): void;
  /** A term in roff (`bold`, `italic`), and what it is. */
  item(term: string, text: string): void;
  /** One line in roff. */
  formatted(text: string): void;
  example(command: string, text: string): void;
  /** The finished page. */
  text(): string;
}

/** The version and date of the program that a page describes. */
export interface Made {
  readonly version: string;
  /** `2026-11-28` */
  readonly date: string;
}

export interface ManPageTitle {
  readonly name: string;
  readonly section: number;
  readonly made: Made;
  readonly summary: string;
}

export function manPage({ name, section, made, summary }: ManPageTitle): ManPage {
  const lines = [
    '.\\" Made by scripts/manual from the descriptions of the options and settings.',
    `.TH "${literal(name.toUpperCase())}" "${section}" "${made.date}" "onevmdump ${made.version}" "onevmdump"`,
    // Words are not hyphenated: a setting with a hyphen in it would look like another setting.
    '.nh',
    '.ad l',
    '.SH NAME',
    `${literal(name)} \\- ${escaped(summary)}`,
  ];
  let begun = false;
  /** Begins a paragraph. After a heading, `man` itself leaves a space. */
  const paragraph = (text: string): void => {
    if (begun) lines.push('.PP');
    lines.push(line(text));
    begun = true;
  };
  return {
    heading(text) {
      lines.push(`.SH ${text.toUpperCase()}`);
      begun = false;
    },
    subheading(text) {
      lines.push(`.SS ${text}`);
      begun = false;
    },
    paragraph: (text) => paragraph(marked(text)),
    formatted: paragraph,
    item(term, text) {
      lines.push('.TP', line(term), line(marked(text)));
      begun = true;
    },
    example(command, text) {
      paragraph(marked(`${text}:`));
      lines.push('.PP', '.nf', '.RS', line(literal(command)), '.RE', '.fi');
    },
    text: () => `${lines.join('\n')}\n`,
  };
}
