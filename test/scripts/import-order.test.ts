import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ESLint } from 'eslint';
import {
  circlesOf,
  faultsOf,
  importsBetweenRooms,
  importsOfProduct,
  objection,
  order,
  roomOf,
} from '../../scripts/import-order.mjs';

const root = join(import.meta.dirname, '../..');

/** The rules that `text` breaks when it stands in place of a file of the product. */
async function broken(file: string, text: string): Promise<readonly (string | null)[]> {
  const eslint = new ESLint({ cwd: root });
  const results = await eslint.lintText(text, { filePath: join(root, file) });
  return results.flatMap(({ messages }) => messages.map(({ ruleId }) => ruleId));
}

describe('the order of imports', () => {
  it('the order of imports has no arrow against it in the product, and no two rooms that import each other', () => {
    const imports = importsBetweenRooms();
    // Nothing was overlooked: the product has far more than these.
    expect(imports.length).toBeGreaterThan(900);
    expect(faultsOf(imports)).toEqual([]);
  });

  it('the order of imports names an import against it, a file without a room, and two rooms that import each other', () => {
    const upwards = {
      from: 'lib/run',
      to: 'lib/vm',
      file: 'lib/run/a.ts',
      imported: 'lib/vm/b.ts',
    };
    expect(faultsOf([upwards])).toEqual([
      'lib/run/a.ts -> lib/vm/b.ts: lib/run must not import lib/vm: imports go down the order of docs/architecture.md',
    ]);
    const back = { from: 'lib/vm', to: 'lib/run', file: 'lib/vm/b.ts', imported: 'lib/run/a.ts' };
    expect(faultsOf([back])).toEqual([]);
    expect(faultsOf([upwards, back])).toContain('lib/run and lib/vm import each other');
    const stray = { from: undefined, to: 'lib/vm', file: 'lib/new/a.ts', imported: 'lib/vm/b.ts' };
    expect(faultsOf([stray])).toEqual(['lib/new/a.ts -> lib/vm/b.ts: not in the order']);
  });

  it('no two files of the product import each other, not even for types or through others', () => {
    const imports = importsOfProduct();
    expect(imports.length).toBeGreaterThan(1200);
    expect(circlesOf(imports)).toEqual([]);
    const circle = [
      { file: 'a.ts', imported: 'b.ts' },
      { file: 'b.ts', imported: 'c.ts' },
      { file: 'c.ts', imported: 'b.ts' },
    ];
    expect(circlesOf(circle)).toEqual(['b.ts -> c.ts -> b.ts']);
    expect(circlesOf(circle.slice(0, 2))).toEqual([]);
  });

  it('the order of imports takes the innermost named folder or file for the room of a file', () => {
    expect(roomOf('lib/storage/registry.ts')).toBe('lib/storage/registry.ts');
    expect(roomOf('lib/storage/lvm/undo.ts')).toBe('lib/storage/lvm');
    expect(roomOf('lib/storage/storage.ts')).toBe('lib/storage');
    expect(roomOf('test/support/shell.ts')).toBeUndefined();
    expect(objection('lib/storage/file', 'lib/storage/lvm')).toBeDefined();
    expect(objection('lib/storage/file', 'lib/storage')).toBeUndefined();
  });

  it('the order of imports is written in docs/architecture.md as the code has it', () => {
    const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    const [, block] = /<!-- order -->\n+```\n([^`]*)```/.exec(text) ?? [];
    const documented = block
      ?.trim()
      .split('\n')
      .map((line) => line.trim().split(/,\s*/));
    expect(documented).toEqual(order);
  });
});

describe('ESLint', () => {
  it('ESLint refuses an import against the order, also of types, also when it is loaded later', async () => {
    const text = [
      "import type { Vm } from '../vm/vm.ts';",
      "export { parseVm } from '../vm/vm-xml.ts';",
      "export const later = (): Promise<unknown> => import('../storage/registry.ts');",
      'export type Known = Vm;',
      '',
    ].join('\n');
    expect(await broken('lib/report/format.ts', text)).toEqual([
      'house/import-order',
      'house/import-order',
      'house/import-order',
    ]);
  });

  it('ESLint refuses a package outside of its folder', async () => {
    const text = "import { execa } from 'execa';\nexport const run = execa;\n";
    expect(await broken('lib/report/format.ts', text)).toEqual(['no-restricted-imports']);
    expect(await broken('lib/run/local-runner.ts', text)).toEqual([]);
  });
});
