// What holds for every compression of the table. The format's own tool judges.
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import {
  compressionNames,
  compressions,
  compressionsInWords,
  levelsInWords,
} from '../../lib/bundle/compression/compressions.ts';
import {
  bundleName,
  endsLikeBundle,
  parseBundleName,
} from '../../lib/bundle/format/bundle-name.ts';
import { decodeTrailer, encodeTrailer, longestTrailer } from '../../lib/bundle/format/trailer.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { parseCompression } from '../../lib/config/compression.ts';

describe.each(compressionNames)('the compression %s', (compression) => {
  const format = compressions[compression];
  const { extension, frameMagic, trailer } = format;
  const facts = { vmId: 8, epoch: 1795404000, compression };

  test(`the compression ${compression} gives bundles a name from which VM, time and compression are read again`, () => {
    const name = bundleName(facts);
    expect(name).toBe(`onevmdump-8-1795404000.${extension}`);
    expect(parseBundleName(name)).toEqual(facts);
    expect(endsLikeBundle(name)).toBe(true);
  });

  test(`the compression ${compression} is asked for by its name, with each level that it has and with no other`, () => {
    expect(parseCompression(compression)).toEqual({ method: compression });
    const { lowest = 1, highest = 0 } = format.levels ?? {};
    for (let level = lowest; level <= highest; level++) {
      expect(parseCompression(`${compression}:${level}`)).toEqual({ method: compression, level });
    }
    for (const level of format.levels ? [lowest - 1, highest + 1] : [0, 1]) {
      expect(() => parseCompression(`${compression}:${level}`)).toThrow();
    }
  });

  test(`the compression ${compression} has for each of its levels an encoder that has it`, async () => {
    const { lowest = 1, highest = 0 } = format.levels ?? {};
    for (let level = lowest; level <= highest; level++) {
      const codec = await pickCompressor({ method: compression, level });
      expect(codec.name).toMatch(new RegExp(` -${level}$`));
    }
    const codec = await pickCompressor({ method: compression });
    expect(codec.compression).toBe(compression);
  });

  test(`the compression ${compression} is known by the beginning of its frames, and no other takes them for its own`, () => {
    if (!frameMagic) return;
    const head = Buffer.concat([frameMagic, Buffer.alloc(500)]);
    expect(compressionNames.filter((other) => compressions[other].isStart(head))).toEqual([
      compression,
    ]);
    expect(format.isStart(Buffer.alloc(0))).toBe(false);
  });

  test(`the compression ${compression} has a trailer that is found at the end of a file, and by no other compression`, () => {
    const place = { compression, offset: 5000, stored: 120, crc32: 7, sha256: Buffer.alloc(32, 9) };
    const bytes = encodeTrailer(place);
    const tail = Buffer.concat([Buffer.alloc(longestTrailer, 'x'), bytes]);
    expect(decodeTrailer(tail, 5120 + bytes.length)).toEqual(place);
  });

  test(`the compression ${compression} has a trailer that decompresses to nothing`, () => {
    if (!frameMagic) return;
    const bytes = encodeTrailer({
      compression,
      offset: 5000,
      stored: 120,
      crc32: 7,
      sha256: Buffer.alloc(32),
    });
    expect(bytes).toHaveLength(trailer.before.length + 64 + trailer.after.length);
    expect(execFileSync(compression, ['-dc'], { input: bytes })).toHaveLength(0);
  });
});

test('the words for help and settings name every compression and its levels', () => {
  expect(compressionsInWords).toBe('gzip, zstd or none');
  expect(levelsInWords).toBe('gzip has the levels 0 to 9, zstd 1 to 19');
});

test.each([
  'onevmdump-8-1795404000.tar.xz',
  'onevmdump-8-1795404000.tar.gz.part',
  'onevmdump-08-1795404000.tar.gz',
  'onevmdump-8-1795404000tar.gz',
  'a-onevmdump-8-1795404000.tar.gz',
  'onevmdump-8-1795404000.tar.gz\n',
  'onevmdump-8-.tar',
])('%j is not the name of a bundle', (name) => {
  expect(parseBundleName(name)).toBeUndefined();
});
