import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Coverage } from '../../lib/read/nbd-coverage.ts';

const spans = fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 20 })), { maxLength: 30 });

test('spans of an NBD reply are counted once, and one that overlaps an earlier one is reported', () => {
  fc.assert(
    fc.property(spans, (all) => {
      const coverage = new Coverage();
      const seen = new Set<number>();
      for (const [from, length] of all) {
        const bytes = Array.from({ length }, (_, at) => from + at);
        const fresh = bytes.every((byte) => !seen.has(byte));
        expect(coverage.add(from, length)).toBe(fresh);
        if (!fresh) return;
        for (const byte of bytes) seen.add(byte);
        expect(coverage.bytes).toBe(seen.size);
      }
    }),
    { numRuns: 2000 },
  );
});
