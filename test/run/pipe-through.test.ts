import { describe, expect, test } from '@jest/globals';
import { pipeThrough } from '../../lib/run/pipe-through.ts';

async function* bytes(...texts: readonly string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

/** Bytes without end; counts how much of it was taken. */
function endless() {
  const taken = { bytes: 0, ended: false };
  async function* input(): AsyncGenerator<Buffer> {
    const chunk = Buffer.alloc(65536);
    try {
      for (;;) {
        yield await Promise.resolve(chunk);
        taken.bytes += chunk.length;
      }
    } finally {
      taken.ended = true;
    }
  }
  return { taken, input: input() };
}

async function collect(output: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of output) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const doing = { doing: 'test a pipe' };
const shell = (script: string) => ({ program: 'sh', args: ['-c', script] });

describe('a program in a stream', () => {
  test('a program in a stream gives what it makes of the input', async () => {
    const output = pipeThrough(
      { program: 'tr', args: ['a-z', 'A-Z'] },
      bytes('one ', 'two'),
      doing,
    );
    await expect(collect(output)).resolves.toBe('ONE TWO');
  });

  test('a program in a stream is reported with its last words when it fails', async () => {
    const output = pipeThrough(shell('cat; echo no good >&2; exit 3'), bytes('x'), doing);
    await expect(collect(output)).rejects.toMatchObject({
      name: 'CommandError',
      message: 'cannot test a pipe: sh: no good',
      status: 3,
    });
  });

  test('a program in a stream is reported by its own failure when it takes no more input', async () => {
    const { input, taken } = endless();
    const output = pipeThrough(shell('echo full >&2; exit 1'), input, doing);
    await expect(collect(output)).rejects.toThrow('cannot test a pipe: sh: full');
    expect(taken.ended).toBe(true);
  });

  test('a program in a stream is reported when it is not installed', async () => {
    const output = pipeThrough({ program: 'no-such-program', args: [] }, bytes('x'), doing);
    await expect(collect(output)).rejects.toMatchObject({
      message: 'cannot test a pipe: no-such-program: is not installed',
      status: undefined,
    });
  });

  test('a program in a stream is reported when a signal kills it', async () => {
    const output = pipeThrough(shell('kill -9 $$'), bytes('x'), doing);
    await expect(collect(output)).rejects.toMatchObject({ name: 'CommandError' });
  });

  test('a program in a stream does not hide an error of the input behind its own', async () => {
    const broken = new Error('the disk is broken');
    async function* input(): AsyncGenerator<Buffer> {
      yield await Promise.resolve(Buffer.from('x'));
      throw broken;
    }
    await expect(collect(pipeThrough(shell('cat; exit 1'), input(), doing))).rejects.toBe(broken);
  });

  test('a program in a stream is not fed faster than its output is taken', async () => {
    const { input, taken } = endless();
    for await (const chunk of pipeThrough({ program: 'cat', args: [] }, input, doing)) {
      expect(chunk.length).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, 200));
      break;
    }
    expect(taken.bytes).toBeLessThan(4 * 1024 * 1024);
    expect(taken.ended).toBe(true);
  });

  test('a program in a stream ends with the reason of the signal', async () => {
    const stop = new AbortController();
    const { input } = endless();
    const output = pipeThrough({ program: 'cat', args: [] }, input, {
      ...doing,
      signal: stop.signal,
    });
    const reason = new Error('enough');
    await expect(
      (async () => {
        for await (const chunk of output) {
          expect(chunk.length).toBeGreaterThan(0);
          stop.abort(reason);
        }
      })(),
    ).rejects.toBe(reason);
  });

  test('a program in a stream sees no variables that would change what it does', async () => {
    process.env['ZSTD_NBTHREADS'] = '7';
    const output = pipeThrough(shell('cat; env | grep -c ZSTD || true'), bytes(), doing);
    await expect(collect(output)).resolves.toBe('0\n');
    delete process.env['ZSTD_NBTHREADS'];
  });
});
