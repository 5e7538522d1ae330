// Makes the program of the worker threads into one text (lib/bundle/threads/worker-code.ts).
import { buildSync } from 'esbuild';

export function buildWorker() {
  const { outputFiles } = buildSync({
    entryPoints: [new URL('../lib/bundle/threads/worker.ts', import.meta.url).pathname],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    write: false,
  });
  return outputFiles[0].text;
}
