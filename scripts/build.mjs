// Builds every entrypoint into one self-contained CommonJS file without extension under dist/.
// OpenNebula runs drivers by their bare action name, so the output carries no extension.
import { chmod, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { buildHooks } from './build-hooks.mjs';

const root = new URL('..', import.meta.url).pathname;
process.chdir(root);

/** Programs that are built: what is installed, and what the demo, tests and benchmarks start. */
async function entryPoints() {
  const folders = ['bin', 'drivers/tm', 'drivers/datastore'];
  const found = [];
  for (const folder of folders) {
    for (const entry of await readdir(folder).catch(() => [])) {
      if (entry.endsWith('.ts')) found.push(join(folder, entry));
    }
  }
  for (const helper of ['test/sandbox/main.ts', 'test/demo/demo.ts', 'bench/bench.ts']) {
    if (await readFile(helper).catch(() => undefined)) found.push(helper);
  }
  return found;
}

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
await rm('dist', { recursive: true, force: true });
const result = await build({
  entryPoints: await entryPoints(),
  outdir: 'dist',
  outbase: '.',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  keepNames: true,
  legalComments: 'eof',
  metafile: true,
  logLevel: 'warning',
  define: {
    'import.meta.url': '__importMetaUrl',
    'globalThis.ONEVMDUMP_VERSION': JSON.stringify(version),
  },
  banner: {
    js: '#!/usr/bin/env node\nconst __importMetaUrl = require("node:url").pathToFileURL(__filename).href;',
  },
});
for (const output of Object.keys(result.metafile.outputs)) {
  const target = output.replace(/\.cjs$/, '');
  await rename(output, target);
  await chmod(target, 0o755);
}
await buildHooks({ version, outdir: 'dist/hooks' });
await mkdir('dist', { recursive: true });
await writeFile('dist/package.json', '{ "type": "commonjs" }\n');
