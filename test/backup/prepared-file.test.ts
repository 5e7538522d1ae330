import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { gzipSync } from 'node:zlib';
import { encodePrepared, parsePrepared } from '../../lib/backup/prepared-file.ts';
import { FailedError } from '../../lib/report/errors.ts';
import type { Log } from '../../lib/report/log.ts';

const image = {
  id: 3,
  name: 'debian',
  type: 'OS',
  persistent: true,
  datastoreId: 1,
  attributes: { DEV_PREFIX: 'vd' },
} as const;

const file = {
  vm: Buffer.from('<VM/>').toString('base64'),
  images: [[0, image]],
  consistency: { level: 'agent', at: '2026-01-02T03:04:05.678Z', frozenMs: 12 },
  disks: [
    {
      id: 0,
      layout: { format: 'qcow2', clusterSize: 65536 },
      virtualSize: 2097152,
      source: { kind: 'image', at: ['x'] },
    },
    { id: 1, layout: { format: 'raw' }, virtualSize: 512, source: 'anything' },
  ],
} as const;
const state = { nvram: Buffer.alloc(100_000, 'v'), tpm: Buffer.from('tpm') };

/** Reads a text; the warnings are in `warned`. */
function read(text: string) {
  const warned: string[] = [];
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (line) => warned.push(line),
    error: () => undefined,
  };
  return { prepared: parsePrepared(text, log), warned };
}

/** The text of a file in which the value at `path` is another; undefined removes it. */
function changed(path: string, value: unknown): string {
  const whole = JSON.parse(encodePrepared(file, state)) as Record<string, unknown>;
  const steps = path.split('.');
  let place = whole;
  for (const step of steps.slice(0, -1)) place = place[step] as Record<string, unknown>;
  place[steps.at(-1)!] = value;
  return JSON.stringify(whole);
}

describe('the prepared file', () => {
  test('the file that prebackup leaves for backup is read as it was written, with the state of the machine', () => {
    const { prepared, warned } = read(encodePrepared(file, state));
    expect(prepared).toEqual({ version: 3, ...file, state });
    expect(warned).toEqual([]);
  });

  test('the file that prebackup leaves for backup has no state where the VM has none', () => {
    expect(read(encodePrepared(file, {})).prepared.state).toEqual({});
  });

  test.each([
    ['version', 1, 'it was written by another version of onevmdump; back up the VM again'],
    ['version', undefined, 'version is not a whole number'],
    ['vm', 7, 'vm is not a text'],
    ['images', {}, 'images is not a list'],
    ['images.0', [0], 'images[0] is not a list of two'],
    ['images.0.0', '0', 'images[0][0] is not a whole number'],
    ['images.0.1.id', null, 'images[0][1].id is not a whole number'],
    ['consistency', undefined, 'consistency is not an object'],
    ['consistency.level', 'perfect', 'consistency.level is not offline or agent or suspend or crash'],
    ['consistency.at', 'now', 'consistency.at is not a time'],
    ['state', undefined, 'state is not an object'],
    ['state.nvram', 'no gzip', 'state.nvram is not base64 of gzip'],
    ['state.tpm', gzipSync(Buffer.alloc(9 * 1024 * 1024)).toString('base64'), 'state.tpm is not base64 of gzip'],
    ['disks', 'none', 'disks is not a list'],
    ['disks.0.id', -1, 'disks[0].id is not a whole number'],
    ['disks.0.layout', undefined, 'disks[0].layout is not an object'],
    ['disks.0.layout.format', 'vmdk', 'disks[0].layout.format is not raw or qcow2'],
    ['disks.0.layout.clusterSize', 1000, 'disks[0].layout.clusterSize is not 512 or'],
    ['disks.1.source', undefined, 'disks[1].source is not there'],
  ])('the file that prebackup leaves for backup is refused when %s is %j, with the place', (path, value, message) => {
    const text = changed(path, value);
    expect(() => read(text)).toThrow(FailedError);
    expect(() => read(text)).toThrow(message);
  }); // prettier-ignore

  test.each(['', 'null', '[]', '{"version":', '{}'])(
    'the file that prebackup leaves for backup is refused when it is just %j',
    (text) => {
      expect(() => read(text)).toThrow(FailedError);
    },
  );

  test('the file that prebackup leaves for backup is read without a fact of an image that is wrong, and a warning names the fact', () => {
    const text = changed('images.0.1.attributes', { DEV_PREFIX: 'vd', NOTES: 'x'.repeat(70_000) });
    const { prepared, warned } = read(text);
    expect(prepared.images[0]?.[1].attributes).toEqual({ DEV_PREFIX: 'vd' });
    expect(warned).toEqual(['ignored: an entry of images[0][1].attributes is not a text']);
  });

  test('the file that prebackup leaves for backup is refused with one clear error or taken, whatever JSON is anywhere in it', () => {
    const places = ['vm', 'images', 'images.0', 'images.0.1', 'consistency', 'state', 'state.nvram', 'disks', 'disks.0', 'disks.0.layout']; // prettier-ignore
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...places), (value, path) => {
        try {
          read(changed(path, value));
        } catch (error) {
          expect(error).toBeInstanceOf(FailedError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
