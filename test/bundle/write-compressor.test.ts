import { describe, expect, test } from '@jest/globals';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { UsageError } from '../../lib/report/errors.ts';

const noKoffi = { koffi: [] };

describe('the compressor', () => {
  test.each([
    ['gzip', undefined, undefined, 'libisal -1'],
    ['gzip', undefined, noKoffi, 'the program igzip -1'],
    ['gzip', 0, undefined, 'libisal -0'],
    ['gzip', 3, undefined, 'libisal -3'],
    ['gzip', 4, undefined, 'zlib -4'],
    ['gzip', 9, noKoffi, 'zlib -9'],
    ['zstd', undefined, undefined, 'libzstd -1'],
    ['zstd', 19, undefined, 'libzstd -19'],
    ['none', undefined, undefined, 'no compression'],
  ] as const)(
    'the compressor for %s, level %s, with %j is %s',
    async (method, level, libs, name) => {
      expect(await pickCompressor({ method, level }, libs)).toMatchObject({
        name,
        compression: method,
        startsPrograms: name.includes('program'),
      });
    },
  );

  test.each([
    ['gzip', 10, 'gzip has the levels 0 to 9, not 10'],
    ['gzip', -1, 'gzip has the levels 0 to 9, not -1'],
    ['gzip', 1.5, 'gzip has the levels 0 to 9, not 1.5'],
    ['gzip', NaN, 'gzip has the levels 0 to 9, not NaN'],
    ['zstd', 0, 'zstd has the levels 1 to 19, not 0'],
    ['zstd', 20, 'zstd has the levels 1 to 19, not 20'],
    ['none', 1, 'compression none has no level'],
  ] as const)('the compressor for %s, level %s is refused', async (method, level, message) => {
    await expect(pickCompressor({ method, level })).rejects.toThrow(message);
  });

  test('the compressor for a level that this machine does not have is refused', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = '/nonexistent';
    try {
      const picked = pickCompressor({ method: 'gzip', level: 0 }, noKoffi);
      await expect(picked).rejects.toThrow(UsageError);
      await expect(picked).rejects.toThrow('the program igzip: is not installed');
    } finally {
      process.env['PATH'] = path;
    }
  });
});
