// The log: lines on stderr in the form of OpenNebula's scripts, `LEVEL: script: text`. stdout carries only the result.
import { inOneLine } from './one-line.ts';

export interface Log {
  /** Commands, stacks and details; shown with -D/--debug only. */
  debug(text: string): void;
  info(text: string): void;
  /** Something was not done, or only partly; the run goes on. */
  warn(text: string): void;
  error(text: string): void;
}

export interface LogOptions {
  /** The name in every line, such as `onevmdump` or `prebackup_live`. */
  readonly script: string;
  readonly debug: boolean;
  /** Only warnings and errors. */
  readonly quiet?: boolean;
  /** Gets complete lines, which end with a newline. */
  readonly write: (line: string) => void;
}

/** A log that writes one line per call; line breaks and control characters inside a text become spaces. */
export function createLog({ script, debug, quiet = false, write }: LogOptions): Log {
  const line = (level: string, text: string): void => {
    write(`${level}: ${script}: ${inOneLine(text)}\n`);
  };
  return {
    debug: (text) => {
      if (debug) line('DEBUG', text);
    },
    info: (text) => {
      if (!quiet) line('INFO', text);
    },
    warn: (text) => line('WARNING', text),
    error: (text) => line('ERROR', text),
  };
}
