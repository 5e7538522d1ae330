// One contract for all engines: what they make is an ordinary frame that foreign tools read, and what they read is either
// right or refused.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { FrameDamage } from '../../../lib/bundle/threads/frame-engine.ts';
import type { FrameThreads } from '../../../lib/bundle/threads/frame-threads.ts';
import { compressed, decompressed, engineWorlds, startThreads } from './engine-worlds.ts';

const frameSize = 1024 * 1024;
const node = readFileSync(process.execPath).subarray(2 ** 22, 2 ** 22 + frameSize);

const contents: Record<string, Buffer> = {
  'no bytes': Buffer.alloc(0),
  'one byte': Buffer.from('a'),
  'a few bytes': Buffer.from('onevmdump'),
  'a tar block': Buffer.alloc(512, 'x'),
  zeros: Buffer.alloc(frameSize),
  'random bytes': randomBytes(frameSize),
  'random bytes of an odd size': randomBytes(65_537),
  'a program': node,
  'zeros and random bytes in turn': Buffer.concat(
    Array.from({ length: 64 }, (_, i) => (i % 2 ? randomBytes(8192) : Buffer.alloc(8192))),
  ),
};

const programs = { gzip: ['gzip', '-dc'], zstd: ['zstd', '-dc'], none: ['cat'] } as const;

/** What the ordinary program makes of a file. */
function byProgram(method: keyof typeof programs, stored: Buffer): Buffer {
  const [program, ...args] = programs[method];
  const { status, stdout } = spawnSync(program, args, { input: stored, maxBuffer: 2 ** 27 });
  expect(status).toBe(0);
  return stdout;
}

describe.each(engineWorlds)('$name', (world) => {
  const { name, method } = world;
  let threads: FrameThreads;
  beforeAll(async () => {
    threads = await startThreads(world, frameSize);
  });
  afterAll(() => threads.close());

  test(`${name} is the engine that is chosen`, () => {
    expect(threads.encoder?.name).toBe(name);
  });

  test.each(Object.entries(contents))(
    `what ${name} makes of %s is decompressed by itself and by the ordinary program`,
    async (_, content) => {
      const { stored, crc32: crc } = await compressed(threads, content);
      expect(crc).toBe(crc32(content));
      expect(byProgram(method, stored).equals(content)).toBe(true);
      const frame = { stored, crc32: crc, length: content.length };
      const again = await decompressed(threads, method, frame);
      expect(again.equals(content)).toBe(true);
    },
  );

  test(`frames by ${name} can follow one another in one file`, async () => {
    const first = await compressed(threads, node);
    const second = await compressed(threads, contents['a few bytes']!);
    const file = byProgram(method, Buffer.concat([first.stored, second.stored]));
    expect(file.equals(Buffer.concat([node, contents['a few bytes']!]))).toBe(true);
  });

  test(`a frame by ${name} that was changed in one bit is refused or still has its content`, async () => {
    const content = node.subarray(0, 40_000);
    const { stored, crc32: crc } = await compressed(threads, content);
    let refused = 0;
    const flips = 300;
    for (let flip = 0; flip < flips; flip++) {
      const damaged = Buffer.from(stored);
      const bit = Math.floor((flip / flips) * stored.length * 8) + (flip % 8);
      damaged[bit >>> 3]! ^= 1 << (bit & 7);
      const frame = { stored: damaged, crc32: crc, length: content.length };
      try {
        const again = await decompressed(threads, method, frame);
        expect(again.equals(content)).toBe(true);
      } catch (error) {
        if (!(error instanceof FrameDamage)) throw error;
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(flips * 0.9);
  });

  test(`a frame by ${name} that ends too early, or is followed by bytes, is refused`, async () => {
    const content = node.subarray(0, 40_000);
    const { stored, crc32: crc } = await compressed(threads, content);
    const half = stored.length >>> 1;
    const wrong = [
      ...[0, 1, 5, 12, half, stored.length - 9, stored.length - 4, stored.length - 1].map((size) =>
        stored.subarray(0, size),
      ),
      Buffer.concat([stored, Buffer.alloc(1)]),
      Buffer.concat([stored, Buffer.alloc(8)]),
      Buffer.concat([stored, randomBytes(20)]),
      Buffer.concat([stored, stored]),
    ];
    for (const bytes of wrong) {
      const frame = { stored: bytes, crc32: crc, length: content.length };
      await expect(decompressed(threads, method, frame)).rejects.toThrow(FrameDamage);
    }
  });

  test(`a frame by ${name} with another length or CRC-32 than announced is refused`, async () => {
    const content = node.subarray(0, 40_000);
    const { stored, crc32: crc } = await compressed(threads, content);
    for (const [length, sum] of [
      [39_999, crc],
      [40_001, crc],
      [0, crc],
      [40_000, crc ^ 1],
    ] as const) {
      const frame = { stored, crc32: sum >>> 0, length };
      await expect(decompressed(threads, method, frame)).rejects.toThrow(FrameDamage);
    }
  });
});

describe.each(engineWorlds.filter(({ name }) => !name.includes('program') && !name.includes('19')))(
  '$name',
  (world) => {
    test(`${world.name} compresses frames of 32 MiB`, async () => {
      const size = 32 * 1024 * 1024;
      const threads = await startThreads(world, size);
      try {
        const content = Buffer.concat([Buffer.alloc(size / 2, node), randomBytes(size / 2)]);
        const { stored, crc32: crc } = await compressed(threads, content);
        expect(byProgram(world.method, stored).equals(content)).toBe(true);
        const frame = { stored, crc32: crc, length: size };
        const again = await decompressed(threads, world.method, frame);
        expect(again.equals(content)).toBe(true);
      } finally {
        await threads.close();
      }
    });
  },
);
