// Frames that are decompressed before anybody asks for them, in a process of their own: an error that
// reaches nobody would end it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { build } from 'esbuild';

const root = new URL('../..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'onevmdump-ahead-'));
afterAll(() => rmSync(folder, { recursive: true }));

const source = `
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { startDecompressing } from './lib/bundle/read/decompress.ts';

const sound = gzipSync(Buffer.concat([Buffer.alloc(300_000, 'abc'), randomBytes(1_200_000)]), { level: 1 });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const damages = {
  cut: (bytes, at) => bytes.subarray(0, at),
  changed: (bytes, at) => { bytes[at] ^= 16; return bytes; },
  overwritten: (bytes, at) => bytes.fill(0xff, at),
  continued: (bytes, at) => Buffer.concat([bytes, randomBytes(1 + at)]),
};
const rounds = 60;
let refused = 0;
const round = async (n, damage) => {
  const bytes = damage(Buffer.from(sound), Math.floor((sound.length * n) / rounds));
  const range = { offset: 0, length: bytes.length };
  const file = { read: async (offset, length) => Buffer.from(bytes.subarray(offset, offset + length)) };
  const started = startDecompressing(file, range, 'gzip', { buffered: n % 2 === 0 ? 2 : 256 });
  await pause(n % 3 === 0 ? 0 : 30);
  try {
    if (n % 5 > 0) for await (const chunk of started.chunks) await pause(0);
  } catch (error) {
    if (error.exitCode === 5) refused += 1;
    else throw error;
  } finally {
    started.stop();
  }
};
for (const damage of Object.values(damages)) {
  // Four at a time: with more, nothing is decompressed before it is asked for.
  for (let n = 0; n < rounds; n += 4) {
    await Promise.all([0, 1, 2, 3].map((more) => round(n + more, damage)));
  }
}
await pause(100);
console.log(refused);
`;

test('a damaged gzip frame is an error for its reader only, however long it waits for one', async () => {
  const program = join(folder, 'program.mjs');
  await build({
    stdin: { contents: source, resolveDir: root, loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: program,
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire('/');",
    },
  });
  const { status, stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  expect(stderr).toBe('');
  // All that were read, but for a changed bit that means nothing to gunzip, such as the time in the header.
  expect(Number(stdout)).toBeGreaterThan(185);
  expect(status).toBe(0);
});
