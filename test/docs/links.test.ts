// Every link of a document leads somewhere, and every page can be found from README.md.
import { describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = dirname(dirname(import.meta.dirname));
const notOurs = new Set(['node_modules', 'dist', '.git', 'coverage']);

function filesOf(folder: string, extensions: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return notOurs.has(entry.name) ? [] : filesOf(path, extensions);
    return entry.isFile() && extensions.test(entry.name) ? [path] : [];
  });
}

const documents = filesOf(root, /\.md$/);

/** The text without code, in which brackets and # mean something else. */
function prose(markdown: string): string {
  return markdown
    .replace(/^```[^]*?^```/gm, '')
    .replace(/^(?: {4}|\t).*$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()<>#]/g, ''));
}

/** The targets of `[text](target)`, `![text](target)`, `src="target"` and `srcset="target"`, without those on the web. */
function linksOf(markdown: string): string[] {
  const targets = [
    ...prose(markdown).matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g),
    ...markdown.matchAll(/(?:src|srcset|href)="([^"\s]+)"/g),
  ].map(([, target = '']) => target);
  return targets.filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors that GitHub and GitLab give the headings of a document. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of markdown
    .replace(/^```[^]*?^```/gm, '')
    .matchAll(/^#{1,6} +(.*?)(?: +#+)?$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Why the link leads nowhere; undefined when it leads somewhere. */
function fault(document: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? document : resolve(dirname(document), decodeURIComponent(path));
  if (!existsSync(target)) return `${link}: there is no such file`;
  if (anchor === undefined || !target.endsWith('.md')) return undefined;
  return anchorsOf(readFileSync(target, 'utf8')).has(anchor)
    ? undefined
    : `${link}: there is no such heading`;
}

describe('the check of links', () => {
  test('the check of links finds a link to a missing file and to a missing heading, and takes those that exist', () => {
    const here = join(root, 'README.md');
    expect(fault(here, 'docs/no-such-page.md')).toMatch('no such file');
    expect(fault(here, 'docs/install.md#no-such-heading')).toMatch('no such heading');
    expect(fault(here, 'docs/install.md#install')).toBeUndefined();
    expect(fault(here, 'docs/decisions/')).toBeUndefined();
  });
  test('the check of links sees links in text and in HTML, and none in code or on the web', () => {
    expect(
      linksOf(
        'see [a `b`](c.md) ![d](e.svg) <img src="f.svg"> [g](https://h.example)\n\n    [i](j.md)\n\n`[k](l.md)`',
      ),
    ).toEqual(['c.md', 'e.svg', 'f.svg']);
  });
  test('the check of links makes the anchors of headings as GitHub does', () => {
    expect([...anchorsOf('# Backup jobs (6.8 and newer)\n## `a`, b\n## a, b\n')]).toEqual([
      'backup-jobs-68-and-newer',
      'a-b',
      'a-b-1',
    ]);
  });
});

describe('documents', () => {
  test.each(documents.map((path) => relative(root, path)))(
    'every link in %s leads to a file and heading that exist',
    (name) => {
      const path = join(root, name);
      const faults = linksOf(readFileSync(path, 'utf8')).map((link) => fault(path, link));
      expect(faults.filter((found) => found !== undefined)).toEqual([]);
    },
  );

  test('every page in docs can be reached from README.md by links', () => {
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path) || !existsSync(path)) return;
      seen.add(path);
      if (statSync(path).isDirectory()) {
        for (const page of filesOf(path, /\.md$/)) visit(page);
      } else if (path.endsWith('.md')) {
        for (const link of linksOf(readFileSync(path, 'utf8'))) {
          visit(resolve(dirname(path), link.split('#')[0] ?? ''));
        }
      }
    };
    visit(join(root, 'README.md'));
    const pages = documents.filter((path) => relative(root, path).startsWith('docs/'));
    expect(pages.filter((page) => !seen.has(page))).toEqual([]);
  });

  test('every page that code, scripts, hooks and the configuration refer to exists', () => {
    const sources = [
      'bin',
      'lib',
      'hooks',
      'drivers',
      'scripts',
      'bench',
      'etc',
      'test/support',
    ].flatMap((folder) => filesOf(join(root, folder), /\.(ts|mjs|js|sh|onehook|conf)$/));
    const missing = [...sources, join(root, 'install.sh')].flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/(?<!QEMU, )\bdocs\/[\w./-]*\w/g)]
        .map(([page]) => page)
        .filter((page) => page !== 'docs/interop/qcow2.txt' && !existsSync(join(root, page)))
        .map((page) => `${relative(root, path)}: ${page}`),
    );
    expect(missing).toEqual([]);
  });

  test('every file of the sources that a document names exists', () => {
    const missing = documents.flatMap((path) =>
      [
        ...readFileSync(path, 'utf8').matchAll(
          /`((?:bin|lib|hooks|drivers|scripts|test|bench)\/[\w./-]+\.(?:ts|mjs|js|sh))`/g,
        ),
      ]
        .map(([, file = '']) => file)
        .filter((file) => !existsSync(join(root, file)))
        .map((file) => `${relative(root, path)}: ${file}`),
    );
    expect(missing).toEqual([]);
  });

  test('decisions are numbered from 0001 without gaps, and their titles carry their number', () => {
    const folder = join(root, 'docs/decisions');
    const names = readdirSync(folder).sort();
    const numbers = names.map((name) => name.slice(0, 4));
    expect(numbers).toEqual(names.map((_, index) => String(index + 1).padStart(4, '0')));
    for (const name of names) {
      expect(readFileSync(join(folder, name), 'utf8')).toMatch(
        new RegExp(`^# ${name.slice(0, 4)} `),
      );
    }
  });
});
