import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseRbdExtents } from '../../lib/read/rbd-extents.ts';
import { FailedError } from '../../lib/report/errors.ts';
import { diffJson, inChunks } from '../support/rbd-streams.ts';

const parse = async (text: string, lengths: readonly number[] = [], virtualSize = 10_000) => [
  ...(await parseRbdExtents(inChunks(text, lengths), virtualSize, 'disk 0 of VM 7')),
];

const lists = fc.array(
  fc.record({ gap: fc.nat(3), length: fc.integer({ min: 1, max: 5 }), exists: fc.boolean() }),
  { maxLength: 40 },
);
const chunkLengths = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });

test('the extents of an RBD image are those that exist, and those that touch are one', async () => {
  await fc.assert(
    fc.asyncProperty(
      lists,
      chunkLengths,
      fc.constantFrom('', ' ', '\n'),
      async (list, cut, gap) => {
        const expected = new Set<number>();
        let offset = 0;
        const extents = list.map((one) => {
          offset += one.gap;
          const extent = { offset, length: one.length, exists: one.exists };
          offset += one.length;
          for (let at = extent.offset; one.exists && at < offset; at++) expected.add(at);
          return extent;
        });
        const found = await parse(diffJson(extents, gap), cut);
        const bytes = found.flatMap((one) =>
          Array.from({ length: one.length }, (_, at) => one.offset + at),
        );
        expect(bytes).toEqual([...expected].sort((one, other) => one - other));
        for (const [at, one] of found.entries()) {
          const before = found[at - 1];
          if (before) expect(one.offset).toBeGreaterThan(before.offset + before.length);
        }
      },
    ),
  );
});

describe('a list is refused', () => {
  const one = '{"offset":0,"length":1,"exists":"true"}';
  test.each([
    ['that is empty', ''],
    ['that is none', 'rbd: no such option'],
    ['that has no end', `[${one}`],
    ['that has no beginning', `${one}]`],
    ['that ends in an extent', `[${one},{"offset":5,`],
    ['that continues after its end', `[${one}]${one}`],
    ['that has text behind its end', `[${one}] xx`],
    ['whose extents are not apart by a comma', `[${one}{"offset":5,"length":1,"exists":"true"}]`],
    ['with an object in an object', '[{"a":{"offset":0,"length":1,"exists":"true"}}]'],
    ['with broken JSON', '[{"offset":0,"length":1,"exists":}]'],
    ['with an offset below 0', '[{"offset":-1,"length":1,"exists":"true"}]'],
    ['with an offset that is no whole number', '[{"offset":0.5,"length":1,"exists":"true"}]'],
    ['with an offset that is a text', '[{"offset":"0","length":1,"exists":"true"}]'],
    ['with an offset beyond all numbers', '[{"offset":1e300,"length":1,"exists":"true"}]'],
    ['with an extent of no length', '[{"offset":0,"length":0,"exists":"true"}]'],
    ['with an extent that may exist', '[{"offset":0,"length":1,"exists":"maybe"}]'],
    ['with an extent whose word is in a list', '[{"offset":0,"length":1,"exists":["true"]}]'],
    ['with an extent that does not say', '[{"offset":0,"length":1}]'],
    ['with an extent after the end of the disk', '[{"offset":9999,"length":2,"exists":"true"}]'],
    ['that goes backwards', `[{"offset":5,"length":1,"exists":"true"},${one}]`],
    ['that says something twice', `[${one},${one}]`],
    ['with an endless word', `[{"offset":${'1'.repeat(5000)}`],
  ])("the list of an RBD image's extents is refused: %s", async (_, text) => {
    await expect(parse(text)).rejects.toThrow(FailedError);
    await expect(parse(text, [3])).rejects.toThrow('cannot find the data of disk 0 of VM 7');
  });
});

test('an empty list of extents is an empty RBD image', async () => {
  expect(await parse('[]')).toEqual([]);
});

test('a list of 200,000 extents of an RBD image takes little CPU time', async () => {
  const extents = Array.from({ length: 200_000 }, (_, at) => ({ offset: at * 8192, length: 4096 }));
  const text = diffJson(extents);
  const before = process.cpuUsage();
  const found = await parse(text, [65_536], 2 ** 40);
  // Microseconds.
  const { user, system } = process.cpuUsage(before);
  expect(user + system).toBeLessThan(50_000_000);
  expect(JSON.stringify(found)).toBe(JSON.stringify(extents));
});
