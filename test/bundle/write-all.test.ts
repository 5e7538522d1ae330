import { describe, expect, test } from '@jest/globals';
import { writeAll } from '../../lib/bundle/write/write-all.ts';

describe('a write that the system takes only a part of', () => {
  test('a write that the system takes only a part of is continued until all is written', async () => {
    const written = Buffer.alloc(10);
    const file = {
      write: (data: Uint8Array, from: number, length: number, at: number) => {
        const taken = Math.min(3, length);
        written.set(data.subarray(from, from + taken), at);
        return Promise.resolve({ bytesWritten: taken, buffer: data });
      },
    };
    await writeAll(file as never, Buffer.from('abcdefgh'), 2);
    expect(written.toString('latin1')).toBe('\0\0abcdefgh');
  });

  test('a write that the system takes only a part of is an error when nothing more is taken', async () => {
    const file = { write: () => Promise.resolve({ bytesWritten: 0 }) };
    await expect(writeAll(file as never, Buffer.from('abc'), 2)).rejects.toThrow(
      'takes no more bytes',
    );
  });
});
