// The titles of all tests can be read alone, as in a report of failed ones. Only what cannot be the beginning of a
// sentence is found here: whether a title says what it should is for people to judge.
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const root = join(import.meta.dirname, '../..');

/** `test`, `test.each(...)`, `(isRoot ? test : test.skip)`. */
function isTest(called: ts.Expression): boolean {
  return /^(test|it)\b/.test(called.getText()) || /^\([^?]+\? (test|it)\b/.test(called.getText());
}

/** The titles of the tests in a source, without those of its groups. */
function titlesIn(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && isTest(node.expression)) {
      const [title] = node.arguments;
      if (title && ts.isStringLiteralLike(title)) titles.push(title.text);
      else if (title && ts.isTemplateExpression(title)) titles.push(title.getText().slice(1, -1));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

/** Whether a title lacks its subject, or is nothing but the name of a case. */
function lacksSubject(title: string): boolean {
  return (
    /^(is|are|was|were|has|have|had|does|do|can|cannot|may|must)\b/.test(title) ||
    /^(that|which|whose|who|whom|and|but|or|it|they|them)\b/.test(title) ||
    // A verb before its object: "removes the file".
    /^[a-z]+s (an?|the|no|nothing|its|every|each|another|what|all)\b/.test(title) ||
    !title.includes(' ')
  );
}

test.each([
  'is refused',
  'that is missing says so',
  'removes the file',
  '%s',
  'whose name is taken',
])('the check of titles finds the title "%s"', (title) => {
  expect(titlesIn('a.ts', `test('${title}', () => undefined);`).filter(lacksSubject)).toEqual([
    title,
  ]);
});

test('every title of a test has a subject, so that it can be read without its group', () => {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '--', 'test/**/*.ts'];
  const files = execFileSync('git', list, { cwd: root, encoding: 'utf8' }).trim().split('\n');
  const wanting: string[] = [];
  let found = 0;
  for (const file of files.filter((name) => /\.(test|lab)\.ts$|contract\.ts$/.test(name))) {
    const titles = titlesIn(file, readFileSync(join(root, file), 'utf8'));
    found += titles.length;
    for (const title of titles) if (lacksSubject(title)) wanting.push(`${file}: ${title}`);
  }
  expect(found).toBeGreaterThan(1000);
  expect(wanting).toEqual([]);
});
