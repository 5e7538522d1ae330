import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import {
  decodeTrailer,
  encodeTrailer,
  longestTrailer,
  trailerSize,
} from '../../lib/bundle/format/trailer.ts';

const sha256 = Buffer.alloc(32, 5);
const compressions = ['gzip', 'zstd', 'none'] as const;

describe.each(compressions)('the %s trailer', (compression) => {
  const offset = 5 * 2 ** 40 + 77;
  const trailer = { compression, offset, stored: 1234, crc32: 0xfedcba98, sha256 };
  const fileSize = offset + 1234 + trailerSize(compression);
  const bytes = encodeTrailer(trailer);

  test(`the ${compression} trailer has its documented size`, () => {
    expect(bytes).toHaveLength(trailerSize(compression));
  });

  test(`the ${compression} trailer is found at the end of other bytes`, () => {
    const tail = Buffer.concat([Buffer.alloc(longestTrailer, 7), bytes]).subarray(-longestTrailer);
    expect(decodeTrailer(tail, fileSize)).toEqual(trailer);
  });

  test(`the ${compression} trailer is not found when any byte of it is changed`, () => {
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ 1;
      expect(decodeTrailer(changed, fileSize)).toBeUndefined();
    }
  });

  test(`the ${compression} trailer is not found when it does not fit the size of the file`, () => {
    expect(decodeTrailer(bytes, fileSize - 1)).toBeUndefined();
    expect(decodeTrailer(bytes, fileSize + 512)).toBeUndefined();
  });

  test(`the ${compression} trailer is not found in a file that is too short`, () => {
    expect(decodeTrailer(bytes.subarray(1), fileSize - 1)).toBeUndefined();
    expect(decodeTrailer(Buffer.alloc(0), 0)).toBeUndefined();
  });
});

test('a trailer with an offset beyond 2^53 is not rounded into one that fits', () => {
  const bytes = encodeTrailer({
    compression: 'none',
    offset: 2 ** 53 + 2,
    stored: 1,
    crc32: 0,
    sha256,
  });
  expect(decodeTrailer(bytes, 2 ** 53 + 2 + 512)).toBeUndefined();
});

describe('behind compressed data the trailer adds nothing', () => {
  const text = Buffer.from('some text\n');
  const gz = Buffer.concat([
    gzipSync(text),
    encodeTrailer({
      compression: 'gzip',
      offset: 0,
      stored: gzipSync(text).length,
      crc32: 0,
      sha256,
    }),
  ]);

  test.each([
    ['gzip', ['-dc']],
    ['pigz', ['-dc']],
    ['igzip', ['-dc']],
    [
      'python3',
      ['-c', 'import gzip,sys;sys.stdout.buffer.write(gzip.open(sys.stdin.buffer).read())'],
    ],
  ])('the trailer after compressed data adds nothing to what %s reads', (program, args) => {
    expect(execFileSync(program, args, { input: gz })).toEqual(text);
  });

  test('the trailer after compressed data adds nothing to what zstd reads', () => {
    const zst = Buffer.concat([
      execFileSync('zstd', ['-c'], { input: text }),
      encodeTrailer({ compression: 'zstd', offset: 0, stored: 23, crc32: 0, sha256 }),
    ]);
    expect(execFileSync('zstd', ['-dc'], { input: zst })).toEqual(text);
  });
});
