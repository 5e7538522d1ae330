import { describe, expect, test } from '@jest/globals';
import { parseMappedExtents } from '../../lib/read/mapped-extents.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { inChunks } from '../support/rbd-streams.ts';

const parse = async (text: string, size: number, chunk = 7) => {
  const { extents } = await parseMappedExtents(inChunks(text, [chunk]), size, 'disk 0 of VM 7');
  return [...extents];
};
const run = (start: number, length: number, zero: unknown): string =>
  `{ "start": ${start}, "length": ${length}, "depth": 0, "present": true, "zero": ${JSON.stringify(zero)}, "data": true, "offset": ${start}}`;

test('the extents of a mapped file are what does not read as zeros, up to its exact size', async () => {
  const text = `[${run(0, 512, false)},\n${run(512, 512, false)},\n${run(1024, 512, true)},\n${run(1536, 512, false)}]\n`;
  expect(await parse(text, 2000)).toEqual([
    { offset: 0, length: 1024 },
    { offset: 1536, length: 464 },
  ]);
  expect(await parse(`[${run(0, 0, true)}]\n`, 0)).toEqual([]);
});

describe('the map of a file', () => {
  test.each([
    ['of nothing', '[]', 'sees 0'],
    ['that is cut', `[${run(0, 512, false)}`, 'no whole list'],
    ['that ends too early', `[${run(0, 1024, false)}]`, 'sees 1024'],
    ['that is a sector too long', `[${run(0, 2560, false)}]`, 'sees 2560'],
    ['with a gap', `[${run(0, 512, false)},${run(1024, 1024, false)}]`, 'out of order'],
    ['that overlaps', `[${run(0, 1024, false)},${run(512, 1536, false)}]`, 'out of order'],
    ['with an empty run', `[${run(0, 0, false)},${run(0, 2048, false)}]`, 'out of order'],
    ['that does not say what is zero', `[${run(0, 2048, 'no')}]`, 'zero is not true or false'],
    ['of another program', 'Offset Length Mapped to File', 'no whole list'],
  ])('the map of a file is refused: one %s', async (_, text, why) => {
    await expect(parse(text, 2000)).rejects.toThrow(FailedError);
    await expect(parse(text, 2000, 1000)).rejects.toThrow(why);
  });
});
