// Builds the hooks and driver actions, which OpenNebula runs from its remotes/ folder. Every host gets a copy of that
// folder. Each program is a small file, and the code that several programs of a folder use is in parts next to them. So
// the copy is small, and a program reads only what it needs. Each import() in the sources makes another part, which is
// read when the import() is reached (docs/decisions/0006-shared-parts.md).
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { build, transform } from 'esbuild';

/**
 * @param options.programs the sources of the programs; @param options.outdir where they are put
 * @param options.options those of esbuild for all programs; @param options.metaUrl what defines import.meta.url
 */
export async function buildRemotes({ programs, outdir, options, metaUrl }) {
  await mkdir(outdir, { recursive: true });
  const names = programs.map((file) => basename(file, '.ts'));
  const smaller = { minifyWhitespace: true, minifySyntax: true };
  // esbuild only splits ES modules, so each file is converted to CommonJS afterwards.
  const { outputFiles } = await build({
    ...options,
    ...smaller,
    entryPoints: programs,
    outdir,
    outExtension: { '.js': '.cjs' },
    chunkNames: 'part-[hash]',
    format: 'esm',
    splitting: true,
    write: false,
  });
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, {
      ...smaller,
      platform: options.platform,
      target: options.target,
      format: 'cjs',
      supported: { 'dynamic-import': false },
    });
    const content = code.includes('__importMetaUrl') ? `${metaUrl}${code}` : code;
    const name = basename(path, extname(path));
    if (!names.includes(name)) await writeFile(path, content);
    else {
      // OpenNebula runs a driver action by its bare name.
      const program = join(outdir, name);
      await writeFile(program, `#!/usr/bin/env node\n${content}`);
      await chmod(program, 0o755);
    }
  }
}
