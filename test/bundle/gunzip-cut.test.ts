// Compressed data that end within a gzip member: what stands before the cut is not lost with it.
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import type { StoredBytes } from '../../lib/bundle/compression/compression-format.ts';
import { gunzipped, startGunzip } from '../../lib/bundle/compression/gunzip.ts';

const first = randomBytes(3_000_000);
const second = gzipSync(randomBytes(1000));
const member = gzipSync(first);

function storedAs(bytes: Buffer, buffered: number): StoredBytes {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += 262_144) {
      yield await Promise.resolve(bytes.subarray(at, at + 262_144));
    }
  }
  return { offset: 0, length: bytes.length, chunks: chunks(), buffered };
}

test.each([
  ['that began to read after the error', true, 256],
  ['that is slower than gunzip', false, 256],
  ['that is slower than gunzip, with room for two chunks', false, 2],
])(
  'a reader %s gets all that was decompressed before the cut, then the error',
  async (_, late, buffered) => {
    for (const rest of [5, 12, 500, second.length - 8, second.length - 1]) {
      const stored = storedAs(Buffer.concat([member, second.subarray(0, rest)]), buffered);
      const gunzip = startGunzip(stored);
      if (late) await new Promise((resolve) => gunzip.once('close', resolve));
      const chunks: Buffer[] = [];
      const read = async () => {
        for await (const chunk of gunzipped(gunzip, stored)) {
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
