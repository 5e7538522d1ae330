// What a setting is, wherever it is declared, and how texts become values.
import { UsageError } from '../report/errors.ts';

/** One setting of the configuration file. */
export interface Setting<T> {
  readonly key: string;
  /** As it would stand in the file. */
  readonly default: string;
  /** The default below $ONE_LOCATION, for a self-contained installation. */
  readonly underOneLocation?: string;
  /** The comment in the shipped file, line by line. */
  readonly description: readonly string[];
  /** @throws UsageError that says what was expected */
  readonly parse: (text: string) => T;
}

/** The settings of one part of the tool, by the names of their values. */
export type SettingTable<Values> = { readonly [K in keyof Values]: Setting<Values[K]> };

/** @throws UsageError when `text` is none of the words */
export function oneOfWords<Word extends string>(text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`${JSON.stringify(text)} is none of ${words.join(', ')}`);
}

/** @throws UsageError when `text` is not a whole number of that range */
export function wholeNumber(text: string, least: number, most: number): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < least || Number(text) > most) {
    throw new UsageError(`${JSON.stringify(text)} is not a number from ${least} to ${most}`);
  }
  return Number(text);
}

/** @throws UsageError */
export function absolutePath(text: string): string {
  if (!text.startsWith('/') || text.includes('\0')) {
    throw new UsageError(`${JSON.stringify(text)} is not an absolute path`);
  }
  return text;
}

/** @throws UsageError when `text` is not a number of seconds, from `least` on */
export function seconds(text: string, least: number): number {
  // In milliseconds it has to fit a timer of Node's, which holds 31 bits: 24 days.
  if (!/^\d{1,7}$/.test(text) || Number(text) < least || Number(text) > 2_000_000) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a number of seconds from ${least} to 2000000`,
    );
  }
  return Number(text);
}
