// Defines what a setting is, for every part of the tool that declares settings, and parses common kinds of values.
import { UsageError } from '../report/errors.ts';

/** One setting of the configuration file. */
export interface Setting<T> {
  readonly key: string;
  /** As it would be written in the file. */
  readonly default: string;
  /** The default in a self-contained installation, relative to $ONE_LOCATION. */
  readonly underOneLocation?: string;
  /** The comment in the shipped file, line by line. */
  readonly description: readonly string[];
  /** @throws UsageError that says what was expected */
  readonly parse: (text: string) => T;
}

/** The settings of one part of the tool, by the names of their values. */
export type SettingTable<Values> = { readonly [K in keyof Values]: Setting<Values[K]> };

/** @throws UsageError when `text` is not one of the words */
export function oneOfWords<Word extends string>(text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`${JSON.stringify(text)} is none of ${words.join(', ')}`);
}

/** Whether it is `yes`. @throws UsageError when `text` is neither `yes` nor `no`; capitals do not matter */
export function yesOrNo(text: string): boolean {
  return oneOfWords(text.toLowerCase(), ['yes', 'no']) === 'yes';
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

/** @throws UsageError when `text` is not a whole number of seconds, or less than `least` */
export function seconds(text: string, least: number): number {
  // In milliseconds, the value must fit into a timer of Node.js, which has 31 bits: 24 days.
  if (!/^\d{1,7}$/.test(text) || Number(text) < least || Number(text) > 2_000_000) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a number of seconds from ${least} to 2000000`,
    );
  }
  return Number(text);
}
