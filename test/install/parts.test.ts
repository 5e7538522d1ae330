// What the programs in remotes/ are made of: small files, and parts that they share (scripts/build-remotes.mjs).
import { describe, expect, test } from '@jest/globals';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

const repository = new URL('../..', import.meta.url).pathname;

describe.each(['hooks', 'drivers/tm', 'drivers/datastore'])('dist/%s', (folder) => {
  const built = join(repository, 'dist', folder);

  test(`dist/${folder} has one program for each source, and else only parts`, async () => {
    const sources = (await readdir(join(repository, folder)))
      .filter((name) => name.endsWith('.ts'))
      .map((name) => basename(name, '.ts'));
    const names = await readdir(built);
    // koffi's native module, with its licence, lies beside the hooks and is used from all folders.
    const others = names.filter((name) => !/^part-\w+\.cjs$|^koffi\./.test(name));
    expect(others.sort()).toEqual(sources.sort());
    for (const name of sources) expect((await stat(join(built, name))).mode & 0o777).toBe(0o755);
  });

  test(`dist/${folder} has every error class once, so that instanceof holds across its parts`, async () => {
    const texts = await Promise.all(
      (await readdir(built)).map((name) => readFile(join(built, name), 'utf8')),
    );
    // The program of the worker threads is a long text in one of them.
    const all = texts.join('\n').replaceAll(/(["'`])(?:(?!\1)[^\\]|\\[^]){20000,}?\1/g, '');
    const classes = [...all.matchAll(/(\w+)=class(?: \w+)? extends \w*Error\b/g)].map(
      ([, name]) => name,
    );
    expect(classes).toEqual(expect.arrayContaining(['OnevmdumpError', 'UnsupportedError']));
    expect(classes.filter((name, index) => classes.indexOf(name) !== index)).toEqual([]);
  });
});
