// Builds the driver actions of one folder: a line for each, and the code behind them in parts that they share,
// so that a host's copy is small and an action reads what it needs and no more
// (docs/decisions/0007-shared-actions.md).
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build, transform } from 'esbuild';

/** What starts an action: install.sh puts lines that require it into the folders of TM drivers, too. */
const sharedFile = 'onevmdump.cjs';

/**
 * @param options.programs the sources of the actions; @param options.options those of esbuild for all programs
 * @param options.metaUrl what defines import.meta.url
 */
export async function buildActions({ folder, programs, options, metaUrl }) {
  const outdir = join('dist', folder);
  await mkdir(outdir, { recursive: true });
  // esbuild makes parts of ES modules only; each of them is made CommonJS afterwards.
  const { outputFiles } = await build({
    ...options,
    entryPoints: programs,
    outdir,
    outExtension: { '.js': '.cjs' },
    chunkNames: 'part-[hash]',
    format: 'esm',
    splitting: true,
    write: false,
    minifyWhitespace: true,
    minifySyntax: true,
  });
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, {
      platform: options.platform,
      target: options.target,
      format: 'cjs',
      supported: { 'dynamic-import': false },
      minifyWhitespace: true,
    });
    const banner = code.includes('__importMetaUrl') ? metaUrl : '';
    await writeFile(path, `${banner}${code}`);
  }
  await writeFile(
    join(outdir, sharedFile),
    'module.exports = (name) => {\n  require(`./${name}.cjs`);\n};\n',
  );
  for (const name of programs.map((file) => basename(file, '.ts'))) {
    const action = join(outdir, name);
    await writeFile(action, `#!/usr/bin/env node\nrequire('./${sharedFile}')('${name}');\n`);
    await chmod(action, 0o755);
  }
}
