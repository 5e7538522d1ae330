// How a hook finds the VM's XML among its arguments and stdin.
import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { readHookInput } from '../../lib/hook/hook-input.ts';

const xml = '<VM><ID>8</ID></VM>';
const base64 = Buffer.from(xml).toString('base64');

/** A stdin that must not be read. */
function untouched(): Readable {
  return new Readable({
    read() {
      this.destroy(new Error('stdin was read'));
    },
  });
}

const read = async (words: readonly string[], stdin = untouched()): Promise<string> =>
  (await readHookInput(words, Object.assign(stdin, { isTTY: false }))).toString();

describe('the input of a hook', () => {
  test('the input of a hook without arguments is read from stdin', async () => {
    expect(await read([], Readable.from([Buffer.from(base64)]))).toBe(xml);
  });

  test.each([
    ['the XML in base64', [base64]],
    ['the plain XML', [xml]],
    ['the XML among other words', ['prolog', base64, '8']],
  ])(
    'the input of a hook whose arguments are %s is found without reading stdin',
    async (_, words) => {
      expect(await read(words)).toBe(xml);
    },
  );

  test.each([
    [0, ['prolog', '8']],
    [2, [base64, xml]],
  ])(
    'the input of a hook with %d documents among its arguments is refused',
    async (count, words) => {
      await expect(read(words)).rejects.toThrow(
        `${count} of the 2 arguments are a VM's XML, plain or in base64; one must be`,
      );
    },
  );
});
