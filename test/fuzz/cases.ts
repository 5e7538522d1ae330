// Inputs that once failed, a file each: test/fuzz/cases/<parser>/<any name>. The tests read all of them.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fuzzFolder } from './folder.ts';

export const casesFolder = join(fuzzFolder, 'cases');

/** The kept inputs of a parser, by the names of their files. */
export function keptCases(parser: string): ReadonlyMap<string, Buffer> {
  const folder = join(casesFolder, parser);
  if (!existsSync(folder)) return new Map();
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}
