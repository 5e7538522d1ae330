// Where the files of the tests are, also for the compiled program in dist/.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL(import.meta.url.includes('/dist/') ? '../../../' : '../../', import.meta.url);

export const fuzzFolder = join(root.pathname, 'test/fuzz');
const fixtures = join(root.pathname, 'test');

/** The content of files in a folder below `test/`, in the order of their names. */
export function filesIn(folder: string, pattern: RegExp): readonly Buffer[] {
  const names = readdirSync(join(fixtures, folder), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => readFileSync(join(fixtures, folder, name)));
}

/** The content of a file below `test/`. */
export function fileAt(path: string): Buffer {
  return readFileSync(join(fixtures, path));
}
