import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import type { CompressingCodec } from '../../lib/bundle/write/frame-codec.ts';
import { createScratch } from '../../lib/bundle/write/scratch.ts';
import { writeAll } from '../../lib/bundle/write/write-all.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { noise } from '../support/write-bundle.ts';

const installed =
  (...programs: string[]) =>
  (program: string) =>
    Promise.resolve(programs.includes(program));

const all = installed('igzip', 'pigz', 'zstd');

describe('the compressor', () => {
  test.each([
    ['gzip', undefined, ['igzip', 'pigz'], 'igzip -1'],
    ['gzip', undefined, ['pigz'], 'pigz -1'],
    ['gzip', undefined, [], 'zlib -1'],
    ['gzip', 0, ['igzip', 'pigz'], 'igzip -0'],
    ['gzip', 3, ['igzip', 'pigz'], 'igzip -3'],
    ['gzip', 4, ['igzip', 'pigz'], 'pigz -4'],
    ['gzip', 9, ['igzip'], 'zlib -9'],
    ['zstd', undefined, ['zstd'], 'zstd -1'],
    ['zstd', 19, ['zstd'], 'zstd -19'],
    ['none', undefined, [], 'no compression'],
  ] as const)(
    'the compressor for %s, level %s, with %j installed is %s',
    async (method, level, programs, name) => {
      const codec = await pickCompressor({ method, level }, installed(...programs));
      expect(codec).toMatchObject({ name, compression: method });
    },
  );

  test.each([
    ['gzip', 10, 'gzip has the levels 0 to 9, not 10'],
    ['gzip', -1, 'gzip has the levels 0 to 9, not -1'],
    ['gzip', 1.5, 'gzip has the levels 0 to 9, not 1.5'],
    ['gzip', NaN, 'gzip has the levels 0 to 9, not NaN'],
    ['zstd', 0, 'zstd has the levels 1 to 19, not 0'],
    ['zstd', 20, 'zstd has the levels 1 to 19, not 20'],
    ['none', 1, 'compression none has no level'],
  ] as const)('the compressor for %s, level %s is refused', async (method, level, message) => {
    await expect(pickCompressor({ method, level }, all)).rejects.toThrow(message);
  });

  test('the compressor for zstd is refused when it is not installed', async () => {
    const choice = { method: 'zstd' } as const;
    await expect(pickCompressor(choice, installed())).rejects.toThrow('which is not installed');
  });

  test('the compressor for gzip level 0 is refused without igzip', async () => {
    const choice = { method: 'gzip', level: 0 } as const;
    await expect(pickCompressor(choice, installed('pigz'))).rejects.toThrow(
      'needs the program igzip',
    );
  });
});

describe('a frame compressed by', () => {
  const text = Buffer.concat([noise(100_000), Buffer.alloc(300_000, 'text '), noise(3, 7)]);

  test.each([
    ['igzip', ['igzip'], 'gzip', 1],
    ['pigz', ['pigz'], 'gzip', 6],
    ['zlib', [], 'gzip', 1],
    ['zstd', ['zstd'], 'zstd', 3],
  ] as const)('%s comes back through the format’s own tool', async (_, programs, method, level) => {
    const codec = (await pickCompressor(
      { method, level },
      installed(...programs),
    )) as CompressingCodec;
    const file = await createScratch(tmpdir());
    const output = await createScratch(tmpdir());
    // What an earlier, larger frame left behind must not come along.
    await writeAll(output, noise(1_000_000, 3), 0);
    await writeAll(file, text, 0);
    const compressor = codec.start(file, output, new AbortController().signal);
    // Twice, as it is used.
    await compressor.compress(text.length, crc32(text));
    const stored = await compressor.compress(text.length, crc32(text));
    await compressor.close();
    const bytes = readFileSync(`/proc/self/fd/${output.fd}`).subarray(0, stored);
    await file.close();
    await output.close();
    expect(execFileSync(method, ['-dc'], { input: bytes }).equals(text)).toBe(true);
    // One member, and no name or time of a scratch file in its header.
    if (method === 'gzip') expect(bytes.subarray(3, 8).toString('hex')).toBe('0000000000');
  });
});
