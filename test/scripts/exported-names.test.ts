import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '../..');
const declaration =
  /^export (?:async )?(?:function\*?|const|abstract class|class|interface|type) ([A-Za-z0-9_]+)/gm;

function sources(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

it('no name is exported by two files of the product, so that a search finds the one that is meant', () => {
  const places = new Map<string, string[]>();
  for (const file of ['lib', 'bin'].flatMap(sources)) {
    for (const [, name = ''] of readFileSync(join(root, file), 'utf8').matchAll(declaration)) {
      places.set(name, [...(places.get(name) ?? []), file]);
    }
  }
  expect(places.size).toBeGreaterThan(800);
  // An overload or a type beside its value is one name in one file.
  const twice = [...places].filter(([, files]) => new Set(files).size > 1);
  expect(twice).toEqual([]);
});
