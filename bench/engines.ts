// Measures the engines that compress and decompress frames, in the worker threads of the product: all on the same bytes, in
// turn. `npm run bench:engines -- FILE [MIB]`; docs/decisions/0012-frame-engines.md has the results.
import * as zlib from 'node:zlib';
import { open, readFile } from 'node:fs/promises';
import { FrameThreads, type FrameThreadsOptions } from '../lib/bundle/threads/frame-threads.ts';
import { slotSizesFor } from '../lib/bundle/threads/frame-slot.ts';
import { measure } from './measure.ts';
import { median } from './statistics.ts';

const mib = 1024 * 1024;
const rounds = 3;
const noKoffi = { koffi: [] };

interface Side {
  readonly name: string;
  readonly method: 'gzip' | 'zstd' | 'none';
  readonly level: number;
  readonly libraries?: FrameThreadsOptions['libraries'];
  readonly path?: string;
}

const hasNodeZstd = 'zstdCompressSync' in zlib;
const sides: readonly Side[] = [
  ...[0, 1, 2, 3].map((level) => ({ name: `libisal -${level}`, method: 'gzip', level }) as const),
  { name: 'program igzip -1', method: 'gzip', level: 1, libraries: noKoffi },
  { name: 'zlib -1', method: 'gzip', level: 1, libraries: noKoffi, path: '/nonexistent' },
  { name: 'libzstd -1', method: 'zstd', level: 1 },
  ...(hasNodeZstd
    ? [{ name: 'zstd of Node.js -1', method: 'zstd', level: 1, libraries: noKoffi } as const]
    : [{ name: 'program zstd -1', method: 'zstd', level: 1, libraries: noKoffi } as const]),
  { name: 'no compression', method: 'none', level: 0 },
];

interface Run {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** CPU seconds of this process, its threads, and its children that have ended. */
async function cpuSeconds(): Promise<number> {
  const { user, system } = process.cpuUsage();
  const stat = await readFile('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (user + system) / 1e6 + (Number(fields[13]) + Number(fields[14])) / 100;
}

async function timed(work: () => Promise<void>): Promise<Run> {
  const [cpu, start] = [await cpuSeconds(), performance.now()];
  await work();
  return {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (await cpuSeconds()) - cpu,
  };
}

/** Compresses all bytes as frames with two threads, then decompresses all of them. */
async function runSide(side: Side, content: Buffer, frameSize: number) {
  const path = process.env['PATH'];
  if (side.path !== undefined) process.env['PATH'] = side.path;
  const threads = await FrameThreads.start({
    encode: side,
    decode: [side.method],
    threads: 2,
    slots: () => slotSizesFor(frameSize),
    libraries: side.libraries,
  });
  process.env['PATH'] = path;
  const chosen = threads.choices.join('; ');
  const frames: { stored: Buffer; crc32: number; length: number }[] = [];
  const each = async (count: number, work: (index: number) => Promise<void>) => {
    let next = 0;
    const worker = async () => {
      while (next < count) await work(next++);
    };
    await Promise.all(Array.from({ length: threads.slots.count }, worker));
  };
  const count = Math.ceil(content.length / frameSize);
  const made = await timed(() =>
    each(count, async (index) => {
      const slot = await threads.slots.take();
      const raw = content.subarray(index * frameSize, (index + 1) * frameSize);
      slot.raw.set(raw);
      const { data, crc32 } = await threads.compress(slot, raw.length);
      frames[index] = { stored: Buffer.from(data), crc32, length: raw.length };
      threads.slots.giveBack(slot);
    }),
  );
  const read = await timed(() =>
    each(count, async (index) => {
      const { stored, ...facts } = frames[index]!;
      const slot = await threads.slots.take();
      threads.storedPlace(slot, side.method).set(stored);
      await threads.decompress(slot, { method: side.method, stored: stored.length, ...facts });
      threads.slots.giveBack(slot);
    }),
  );
  await threads.close();
  const stored = frames.reduce((sum, frame) => sum + frame.stored.length, 0);
  return { made, read, chosen, ratio: stored / content.length };
}

async function main(): Promise<void> {
  const [path, size = '96'] = process.argv.slice(2);
  if (path === undefined) throw new Error('usage: engines FILE [MIB]');
  const content = Buffer.alloc(Number(size) * mib);
  const file = await open(path);
  const { bytesRead } = await file.read(content, 0, content.length, 0);
  await file.close();
  if (bytesRead < content.length) throw new Error(`${path} has less than ${size} MiB`);
  console.log(`${size} MiB of ${path}, Node ${process.version}, two threads, ${rounds} rounds`);
  console.log('| frames | engine | compress s | CPU s | ratio | decompress s | CPU s |');
  for (const frameMib of [8, 2, 1]) {
    const runs = sides.map(() => [] as Awaited<ReturnType<typeof runSide>>[]);
    const igzip: Run[] = [];
    for (let round = 0; round < rounds; round++) {
      igzip.push(await measure(`head -c ${content.length} ${path} | igzip -1 -c > /dev/null`));
      for (const [i, side] of sides.entries()) {
        runs[i]!.push(await runSide(side, content, frameMib * mib));
      }
    }
    const of = (some: readonly Run[]) =>
      `${median(some.map((run) => run.seconds)).toFixed(2)} | ${median(some.map((run) => run.cpuSeconds)).toFixed(2)}`;
    console.log(`| | one igzip -1 | ${of(igzip)} | | | |`);
    for (const [i, { name }] of sides.entries()) {
      const some = runs[i]!;
      const made = of(some.map((run) => run.made));
      const read = of(some.map((run) => run.read));
      console.log(
        `| ${frameMib} MiB | ${name} | ${made} | ${some[0]!.ratio.toFixed(4)} | ${read} |`,
      );
    }
  }
}

main().catch((error: unknown) => {
  console.error(`engines: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
