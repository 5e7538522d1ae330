// A process with worker threads ends when it should, and not before.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { buildSync } from 'esbuild';

const root = new URL('../../..', import.meta.url).pathname;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'threads-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a program that has started two threads, `threads`. */
async function run(program: string) {
  const built = buildSync({
    stdin: {
      contents: `
        import { FrameThreads } from './lib/bundle/threads/frame-threads.ts';
        import { slotSizesFor } from './lib/bundle/threads/frame-slot.ts';
        import { randomFillSync } from 'node:crypto';
        const encode = { method: 'zstd', level: 19 };
        const slots = () => slotSizesFor(1024 * 1024);
        const threads = await FrameThreads.start({ encode, slots, threads: 2 });
        ${program}`,
      resolveDir: root,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    define: { 'globalThis.ONEVMDUMP_WORKER': JSON.stringify(globalThis.ONEVMDUMP_WORKER) },
    write: false,
  });
  const file = join(folder, 'program.mjs');
  await writeFile(file, built.outputFiles[0]!.text);
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { status, stdout, stderr };
}

const compress = `
  const slot = await threads.slots.take();
  randomFillSync(slot.raw);
  const frame = threads.compress(slot, slot.raw.length);`;

test('threads without work do not keep a process alive that has not closed them', async () => {
  expect(await run(`console.log('done');`)).toMatchObject({ status: 0, stdout: 'done\n' });
});

test('a process that waits for a frame lives until it has come', async () => {
  const { status, stdout } = await run(`${compress}
    const { data } = await frame;
    console.log(data.length > 1000);`);
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'true\n' });
});

test('a process that exits while frames are compressed ends with its own code', async () => {
  const { status } = await run(`${compress}
    setTimeout(() => process.exit(5), 10);`);
  expect(status).toBe(5);
});

test('a process that throws while frames are compressed ends with that error', async () => {
  const { status, stderr } = await run(`${compress}
    throw new Error('something else');`);
  expect(status).toBe(1);
  expect(stderr).toContain('something else');
});
