// Generates documentation from the descriptions of commands, options, settings and exit codes.
// Usage: manual man FOLDER   the man pages, into FOLDER/man1 and FOLDER/man5 (part of the build)
//        manual docs FILE... the tables and dumps of these documents, in place (npm run docs)
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toolVersion } from '../lib/report/version.ts';
import { exampleBundle, withExample } from './manual/example.ts';
import { manPages } from './manual/pages.ts';
import { withTables } from './manual/tables.ts';

/** The date of the build; SOURCE_DATE_EPOCH makes it reproducible. */
const epoch = process.env['SOURCE_DATE_EPOCH'];
const date = new Date(epoch ? Number(epoch) * 1000 : Date.now()).toISOString().slice(0, 10);

const [what, ...names] = process.argv.slice(2);

async function writeManPages(folder: string): Promise<void> {
  for (const [name, text] of manPages({ version: toolVersion, date })) {
    const file = join(folder, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}

async function writeTables(file: string): Promise<void> {
  const before = await readFile(file, 'utf8');
  const after = withExample(withTables(before), await exampleBundle());
  if (after !== before) await writeFile(file, after);
}

async function main(): Promise<void> {
  if (what === 'man' && names.length === 1) await writeManPages(names[0]!);
  else if (what === 'docs') for (const file of names) await writeTables(file);
  else throw new Error('usage: manual man FOLDER | manual docs FILE...');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
