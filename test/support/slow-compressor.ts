// A compressor that a test holds, or lets fail, in the middle of an export. It does well in the self-test of the worker threads,
// and with the small members of a bundle.
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const real = { igzip: 'gzip -1 -c -n', zstd: '/usr/bin/zstd "$@"' } as const;

/**
 * Makes a program in `folder`.
 * @param line what it does with 100,000 bytes or more, in bash; `all` gives these bytes, `real` compresses
 * @returns what has an export use it
 */
export async function slowCompressor(
  folder: string,
  program: keyof typeof real,
  line: string,
): Promise<{ readonly PATH: string; readonly ONEVMDUMP_FFI: string }> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, program);
  const script = `#!/bin/bash
input="$0.$$"
head -c 100000 > "$input"
all() { cat "$input" -; }
real() { ${real[program].replace('"$@"', '"${args[@]}"')}; }
args=("$@")
if [ "$(wc -c < "$input")" -lt 100000 ]; then real < "$input"; code=$?; rm "$input"; exit $code; fi
${line}
`;
  await writeFile(path, script);
  await chmod(path, 0o755);
  return { PATH: `${folder}:${process.env['PATH'] ?? ''}`, ONEVMDUMP_FFI: '0' };
}
