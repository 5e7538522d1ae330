// Jest transformer: strips TypeScript types with esbuild and keeps native ES modules.
import { transformSync } from 'esbuild';

export default {
  process(source, path) {
    return transformSync(source, {
      loader: 'ts',
      format: 'esm',
      target: 'node20',
      sourcemap: 'both',
      sourcefile: path,
    });
  },
};
