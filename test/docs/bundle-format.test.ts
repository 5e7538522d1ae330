// The worked example of docs/bundle-format.md is a real bundle: what the document shows of it is compared with its bytes.
import { afterAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleBundle, withExample } from '../../scripts/manual/example.ts';
import { testFolder } from '../support/write-bundle.ts';

const document = readFileSync(join(import.meta.dirname, '../../docs/bundle-format.md'), 'utf8');
const example = document.slice(document.indexOf('\n## A worked example\n'));
const bundle = await exampleBundle();

const folder = testFolder();
afterAll(folder.remove);
writeFileSync(join(folder.path, 'example.tar'), bundle);

test('the dumps and the JSON of the worked example are those of the bundle that the writer makes', () => {
  expect(document).toBe(withExample(document, bundle));
  expect(example.match(/^ {4}[0-9a-f]{8} {2}/gm)?.length).toBeGreaterThan(30);
  expect(example).toContain(`${bundle.length.toLocaleString('en')} bytes long`);
});

test('a byte of the worked example that is not that of the bundle is found', () => {
  const changed = Buffer.from(bundle);
  changed[0x2651]! ^= 1;
  expect(withExample(document, changed)).not.toBe(document);
});

test('the commands of the worked example print what the document says', () => {
  const commands = [...example.matchAll(/^ {4}\$ ([^]*?)\n {4}([0-9a-f]{64} {2}-)$/gm)];
  expect(commands).toHaveLength(2);
  for (const [, command = '', printed = ''] of commands) {
    const options = { cwd: folder.path, encoding: 'utf8' } as const;
    expect(execFileSync('sh', ['-c', command], options)).toBe(`${printed}\n`);
    expect(
      bundle.includes(Buffer.from(printed.slice(0, 64), 'hex')) ||
        bundle.includes(printed.slice(0, 64)),
    ).toBe(true);
  }
});
