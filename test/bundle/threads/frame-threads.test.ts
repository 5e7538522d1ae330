// How the worker threads share their work, and how they end.
import { randomBytes } from 'node:crypto';
import { afterEach, expect, test } from '@jest/globals';
import { DiskChecksum } from '../../../lib/bundle/format/disk-checksum.ts';
import { RegionHasher } from '../../../lib/bundle/format/region-hash.ts';
import type { FrameThreads } from '../../../lib/bundle/threads/frame-threads.ts';
import { FailedError } from '../../../lib/report/errors.ts';
import { compressed, startThreads } from './engine-worlds.ts';

const gzip = { method: 'gzip', level: 1, options: { threads: 2 } } as const;
const slow = { method: 'zstd', level: 19, options: { threads: 2 } } as const;
const mib = 1024 * 1024;

/** Puts another program in the place of the workers' own. */
function withWorker<T>(code: string, work: () => Promise<T>): Promise<T> {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'ONEVMDUMP_WORKER')!;
  Object.defineProperty(globalThis, 'ONEVMDUMP_WORKER', { configurable: true, value: code });
  return work().finally(() => Object.defineProperty(globalThis, 'ONEVMDUMP_WORKER', own));
}

let threads: FrameThreads | undefined;
afterEach(() => threads?.close());

test('many frames at once are compressed in a bounded number of slots, which are used again', async () => {
  threads = await startThreads(gzip);
  const seen = new Set<number>();
  const contents = Array.from({ length: 40 }, (_, i) => Buffer.alloc(mib - i, `frame ${i} `));
  const sizes = await Promise.all(
    contents.map(async (content) => {
      const slot = await threads!.slots.take();
      seen.add(slot.number);
      slot.raw.set(content);
      const { data } = await threads!.compress(slot, content.length);
      const size = data.length;
      threads!.slots.giveBack(slot);
      return size;
    }),
  );
  expect(sizes).toHaveLength(40);
  expect(seen.size).toBeLessThanOrEqual(4);
});

test('slots of large frames are fewer, so that they stay within their memory', async () => {
  threads = await startThreads(gzip, 32 * mib);
  expect(threads.slots.count).toBe(2);
});

test('taking a slot waits until one is given back', async () => {
  threads = await startThreads(gzip);
  const slots = [];
  for (let i = 0; i < threads.slots.count; i++) slots.push(await threads.slots.take());
  let taken = false;
  const waiting = threads.slots.take().then((slot) => {
    taken = true;
    return slot;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(taken).toBe(false);
  threads.slots.giveBack(slots[0]!);
  expect(await waiting).toBe(slots[0]);
});

test('the hash of a region is the same whether its parts come in one job or in many, on any thread', async () => {
  threads = await startThreads(gzip);
  const virtualSize = 3 * mib;
  const disk = Buffer.concat([randomBytes(mib), Buffer.alloc(mib / 2), randomBytes(mib + mib / 2)]);
  const slot = await threads.slots.take();
  const hashes: Uint8Array[] = [];
  for (let region = 0; region < 3; region++) {
    slot.raw.set(disk.subarray(region * mib, (region + 1) * mib));
    const jobs = [];
    for (let at = 0; at < mib; at += 100_000) {
      const length = Math.min(100_000, mib - at);
      const parts = Uint32Array.of(region, at, at, length);
      const ended = at + length === mib ? Uint32Array.of(region) : new Uint32Array(0);
      jobs.push(threads.hash(slot, region, { disk: 7, virtualSize, parts, ended }));
    }
    hashes.push((await Promise.all(jobs)).at(-1)!);
  }
  const wanted: Buffer[] = [];
  const checksum = new DiskChecksum(virtualSize, (hash) => wanted.push(hash));
  checksum.update(disk, 0);
  checksum.digest();
  expect(Buffer.concat(hashes).equals(Buffer.concat(wanted))).toBe(true);
  threads.slots.giveBack(slot);
});

test('regions of several disks can be hashed in one job', async () => {
  threads = await startThreads(gzip);
  const slot = await threads.slots.take();
  randomBytes(mib).copy(slot.raw);
  const virtualSize = 2 * mib + 5000;
  const parts = Uint32Array.of(0, 4096, 0, 10_000, 2, 0, 20_000, 5000);
  const empty = { parts: new Uint32Array(0), virtualSize };
  await threads.hash(slot, 0, { ...empty, disk: 1, parts, ended: new Uint32Array(0) });
  await threads.hash(slot, 0, { ...empty, disk: 2, parts, ended: new Uint32Array(0) });
  const one = await threads.hash(slot, 0, { ...empty, disk: 1, ended: Uint32Array.of(0, 2, 1) });
  const two = await threads.hash(slot, 0, { ...empty, disk: 2, ended: Uint32Array.of(2) });
  const first = new RegionHasher(mib);
  first.update(slot.raw.subarray(0, 10_000), 4096);
  const last = new RegionHasher(5000);
  last.update(slot.raw.subarray(20_000, 25_000), 0);
  const zeros = new RegionHasher(mib);
  const lastHash = last.digest();
  const wanted = Buffer.concat([first.digest(), lastHash, zeros.digest()]);
  expect(Buffer.from(one).equals(wanted)).toBe(true);
  expect(Buffer.from(two).equals(lastHash)).toBe(true);
  threads.slots.giveBack(slot);
});

test('closing while frames are compressed makes them reject, and ends the threads', async () => {
  threads = await startThreads(slow);
  const frames = [1, 2, 3, 4].map(async () => {
    const slot = await threads!.slots.take();
    randomBytes(mib).copy(slot.raw);
    return threads!.compress(slot, mib);
  });
  const waiting = threads.slots.take();
  waiting.catch(() => undefined);
  const ended = Promise.allSettled(frames);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await threads.close();
  for (const { status } of await ended) expect(status).toBe('rejected');
  await expect(waiting).rejects.toThrow('the worker threads have been ended');
  await expect(threads.slots.take()).rejects.toThrow('the worker threads have been ended');
  await threads.close();
});

test('an aborted signal makes every call reject with its reason', async () => {
  const stop = new AbortController();
  threads = await startThreads({ ...slow, options: { threads: 2, signal: stop.signal } });
  const slot = await threads.slots.take();
  randomBytes(mib).copy(slot.raw);
  const frame = threads.compress(slot, mib);
  stop.abort(new Error('the user pressed Ctrl-C'));
  await expect(frame).rejects.toThrow('the user pressed Ctrl-C');
  await expect(threads.compress(slot, mib)).rejects.toThrow('the user pressed Ctrl-C');
  await expect(threads.slots.take()).rejects.toThrow('the user pressed Ctrl-C');
});

test('no threads are started for a signal that was aborted before', async () => {
  const options = { threads: 2, signal: AbortSignal.abort(new Error('too late')) };
  await expect(startThreads({ ...gzip, options })).rejects.toThrow('too late');
});

test('a worker that dies while it works fails everything with a clear error', async () => {
  const dying = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', ({ kind }) => { if (kind === 'job') process.exit(3); });
    parentPort.postMessage({ kind: 'ready', report: { startsPrograms: false, lines: [] } });`;
  await withWorker(dying, async () => {
    threads = await startThreads(gzip);
    const first = compressed(threads, Buffer.from('a'));
    const second = compressed(threads, Buffer.from('b'));
    await expect(first).rejects.toThrow(FailedError);
    await expect(first).rejects.toThrow('a worker thread failed: it ended with code 3');
    await expect(second).rejects.toThrow('a worker thread failed: it ended with code 3');
    await expect(threads.slots.take()).rejects.toThrow('a worker thread failed');
  });
});

test('a worker that throws outside of a job fails everything with its message', async () => {
  const throwing = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', ({ kind }) => { if (kind === 'job') throw new Error('out of luck'); });
    parentPort.postMessage({ kind: 'ready', report: { startsPrograms: false, lines: [] } });`;
  await withWorker(throwing, async () => {
    threads = await startThreads(gzip);
    const first = compressed(threads, Buffer.from('a'));
    await expect(first).rejects.toThrow('a worker thread failed: out of luck');
  });
});

test('a worker that does not even start is an error, not a wait', async () => {
  await withWorker('throw new Error("broken build")', () =>
    expect(startThreads(gzip)).rejects.toThrow('a worker thread failed: broken build'),
  );
});
