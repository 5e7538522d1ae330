// Builds the hooks. A hook is started for every VM that reaches a state and has nothing to do for most:
// it is a small file that decides, and what it loads with import() only then is a file beside it. In one
// file, Node would read and compile all of it each time, which took longer than the decision
// (docs/decisions/0006-hooks-in-two-files.md).
import { chmod, mkdir, readdir, rename } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { build } from 'esbuild';

/** @param options.version of the package; @param options.outdir where the hooks are to be */
export async function buildHooks({ version, outdir }) {
  const programs = (await readdir('hooks')).filter((name) => name.endsWith('.ts'));
  await mkdir(outdir, { recursive: true });
  /** The files that are loaded when needed: source -> name. */
  const lazy = new Map();
  const options = {
    outdir,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    keepNames: true,
    // Hosts get a copy of all hooks.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'eof',
    logLevel: 'warning',
    define: {
      'import.meta.url': '__importMetaUrl',
      'globalThis.ONEVMDUMP_VERSION': JSON.stringify(version),
    },
  };
  const metaUrl = 'const __importMetaUrl = require("node:url").pathToFileURL(__filename).href;';
  const apart = {
    name: 'apart',
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        if (kind !== 'dynamic-import') return undefined;
        const name = basename(path, '.ts');
        lazy.set(resolve(resolveDir, path), name);
        return { path: `./${name}.cjs`, external: true };
      });
    },
  };
  await build({
    ...options,
    entryPoints: programs.map((name) => join('hooks', name)),
    plugins: [apart],
    banner: { js: '#!/usr/bin/env node' },
  });
  await build({
    ...options,
    entryPoints: [...lazy.keys()],
    outbase: '.',
    entryNames: '[name]',
    banner: { js: metaUrl },
  });
  for (const name of programs) {
    const built = join(outdir, basename(name, '.ts'));
    await rename(`${built}.cjs`, built);
    await chmod(built, 0o755);
  }
}
