// Compressed data that end within a gzip member: what stands before the cut is not lost with it.
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import type { BundleSource } from '../../lib/bundle/read/bundle.ts';
import { gunzippedBytes, startGunzip } from '../../lib/bundle/read/decompress.ts';

const first = randomBytes(3_000_000);
const second = gzipSync(randomBytes(1000));
const member = gzipSync(first);

function sourceOf(bytes: Buffer): BundleSource {
  return {
    name: 'bundle',
    size: bytes.length,
    modified: new Date(0),
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    close: () => Promise.resolve(),
  };
}

test.each([
  ['that began to read after the error', true, 256],
  ['that is slower than gunzip', false, 256],
  ['that is slower than gunzip, with room for two chunks', false, 2],
])(
  'a reader %s gets all that was decompressed before the cut, then the error',
  async (_, late, buffered) => {
    for (const rest of [5, 12, 500, second.length - 8, second.length - 1]) {
      const bytes = Buffer.concat([member, second.subarray(0, rest)]);
      const range = { offset: 0, length: bytes.length };
      const gunzip = startGunzip(sourceOf(bytes), range, undefined, buffered);
      if (late) await new Promise((resolve) => gunzip.once('close', resolve));
      const chunks: Buffer[] = [];
      const read = async () => {
        for await (const chunk of gunzippedBytes(gunzip, range)) {
          chunks.push(chunk);
          await pause(5);
        }
      };
      await expect(read()).rejects.toThrow(/unexpected end of file/);
      const all = Buffer.concat(chunks);
      expect(all.subarray(0, first.length).equals(first)).toBe(true);
      if (rest >= second.length - 8) expect(all.length).toBe(first.length + 1000);
    }
  },
);
