// Builds all programs as CommonJS files without an extension in dist/: the command as one self-contained file, hooks and
// driver actions as programs that share parts (build-remotes.mjs).
import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { buildRemotes } from './build-remotes.mjs';
import { buildWorker } from './worker-code.mjs';

const root = new URL('..', import.meta.url).pathname;
process.chdir(root);

/** Folders whose files OpenNebula runs. */
const remotes = ['hooks', 'drivers/tm', 'drivers/datastore'];
const helpers = [
  'test/sandbox/main.ts',
  'test/demo/demo.ts',
  'test/fuzz/main.ts',
  'bench/bench.ts',
  'bench/many-extents.ts',
  'bench/engines.ts',
  'scripts/manual.ts',
  'scripts/tm-mads.ts',
];

async function programsIn(folder) {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name));
}

async function there(files) {
  const found = [];
  for (const file of files) if (await readFile(file).catch(() => undefined)) found.push(file);
  return found;
}

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const options = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  keepNames: true,
  legalComments: 'eof',
  logLevel: 'warning',
  define: {
    'import.meta.url': '__importMetaUrl',
    'globalThis.ONEVMDUMP_VERSION': JSON.stringify(version),
    'globalThis.ONEVMDUMP_WORKER': JSON.stringify(buildWorker()),
  },
};
// Packages ask for the current folder as soon as they are loaded. If it was removed, Node.js would print a stack.
const requireFolder =
  "try { process.cwd(); } catch { const message = 'the current folder does not exist: change to another one'; if (process.argv.includes('--json')) console.log(JSON.stringify({ error: { code: 'wrong-usage', message, exitCode: 2 } })); console.error(message); process.exit(2); }";
const metaUrl = 'const __importMetaUrl = require("node:url").pathToFileURL(__filename).href;';

await rm('dist', { recursive: true, force: true });
await mkdir('dist');

// The command, and what the demo, tests and benchmarks start.
const result = await build({
  ...options,
  entryPoints: [...(await programsIn('bin')), ...(await there(helpers))],
  outdir: 'dist',
  outbase: '.',
  outExtension: { '.js': '.cjs' },
  metafile: true,
  banner: { js: `#!/usr/bin/env node\n${requireFolder}\n${metaUrl}` },
});
for (const output of Object.keys(result.metafile.outputs)) {
  const target = output.replace(/\.cjs$/, '');
  await rename(output, target);
  await chmod(target, 0o755);
}
for (const folder of remotes) {
  const programs = await programsIn(folder);
  if (programs.length > 0)
    await buildRemotes({ programs, outdir: join('dist', folder), options, metaUrl });
}
// koffi calls libraries (lib/bundle/threads/ffi.ts). Only the file for this machine's processor is taken, and the programs
// also run without it.
const koffi = `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
if ((await there([koffi])).length > 0) {
  await copyFile(koffi, 'dist/hooks/koffi.node');
  await copyFile('lib/bundle/threads/koffi.license.txt', 'dist/hooks/koffi.license.txt');
}
await writeFile('dist/package.json', '{ "type": "commonjs" }\n');
if ((await there(['scripts/manual.ts'])).length > 0)
  execFileSync(process.execPath, ['dist/scripts/manual', 'man', 'dist/man'], { stdio: 'inherit' });
if ((await there(['scripts/tm-mads.ts'])).length > 0)
  await writeFile('dist/drivers/tm-mads', execFileSync(process.execPath, ['dist/scripts/tm-mads']));
