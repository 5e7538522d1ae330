import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleDestination } from '../../lib/bundle/location/destination.ts';
import { partName } from '../../lib/vm/names.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onevmdump-destination-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const facts = { vmId: 8, epoch: 1795404000, compression: 'gzip' } as const;

describe('the destination', () => {
  test('the destination of a bundle is a new file in a folder', async () => {
    expect(await bundleDestination(folder, facts)).toBe(
      join(folder, 'onevmdump-8-1795404000.tar.gz'),
    );
  });

  test.each([
    ['zstd', 'tar.zst'],
    ['none', 'tar'],
  ] as const)(
    'the destination of a bundle with compression %s ends in %s',
    async (compression, extension) => {
      expect(await bundleDestination(folder, { ...facts, compression })).toMatch(
        new RegExp(`8-1795404000\\.${extension}$`),
      );
    },
  );

  test('the destination of a bundle may be the full name of the file, as the older tool took it', async () => {
    const path = join(folder, 'my bundle.tgz');
    expect(await bundleDestination(path, facts)).toBe(path);
  });

  test('the destination of a bundle is refused when the file is already there', async () => {
    await writeFile(join(folder, 'taken'), '');
    await expect(bundleDestination(join(folder, 'taken'), facts)).rejects.toThrow(
      /taken: it exists already$/,
    );
  });

  test('the destination of a bundle is refused when another export may be writing the file', async () => {
    const part = partName(join(folder, 'same.tar'));
    await writeFile(part, '');
    await expect(bundleDestination(join(folder, 'same.tar'), facts)).rejects.toThrow(
      `${part} exists: another export may be writing it`,
    );
    expect(await bundleDestination(join(folder, 'same'), facts)).toBe(join(folder, 'same'));
  });

  test('the destination of a bundle is refused when its folder is missing', async () => {
    await expect(bundleDestination(join(folder, 'no', 'file'), facts)).rejects.toThrow(
      `there is no folder ${join(folder, 'no')}`,
    );
  });

  test('the destination of a bundle with a slash at the end is a folder that must be there', async () => {
    await expect(bundleDestination(`${folder}/missing/`, facts)).rejects.toThrow(
      `there is no folder ${join(folder, 'missing')}`,
    );
  });

  test('the destination of a bundle below a file is refused as a missing folder', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(bundleDestination(join(folder, 'file', 'x'), facts)).rejects.toThrow(
      'there is no folder',
    );
  });

  test('the destination of a bundle keeps blanks and quotes in names', async () => {
    const odd = join(folder, `it's "odd"`);
    await mkdir(odd);
    expect(await bundleDestination(odd, facts)).toContain(`it's "odd"/onevmdump-8`);
  });
});
