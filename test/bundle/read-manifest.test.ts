import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseManifest, parseScanned } from '../../lib/bundle/format/manifest-parse.ts';
import { ManifestScan } from '../../lib/bundle/format/manifest-scan.ts';
import type { Manifest } from '../../lib/bundle/format/manifest.ts';
import { BundleError } from '../../lib/report/errors.ts';

const image = {
  id: 3,
  name: 'debian',
  uname: 'oneadmin',
  type: 'OS',
  persistent: true,
  datastoreId: 1,
  attributes: { DEV_PREFIX: 'vd' },
} as const;

const sound: Manifest = {
  format: 'onevmdump',
  version: 1,
  tool: { name: 'onevmdump', version: '1.0.0' },
  created: '2026-01-02T03:04:05.678Z',
  compression: 'gzip',
  vm: { id: 7, name: 'web', state: 'RUNNING', hostname: 'host1' },
  consistency: { level: 'agent', at: '2026-01-02T03:04:05.678Z', frozenMs: 12 },
  members: [
    { name: './vm.xml', size: 20, frames: [[0, 100, 2048, 1]] },
    { name: './backup.disk.0', size: 1048576, frames: [[100, 500, 4096, 2]] },
    { name: './backup.disk.2', size: 720896, frames: [[600, 500, 721408, 3]] },
  ],
  disks: [
    {
      id: 0,
      member: './backup.disk.0',
      format: 'raw',
      virtualSize: 1048576,
      dataBytes: 1024,
      sha256: 'a'.repeat(64),
      image,
    },
    {
      id: 2,
      member: './backup.disk.2',
      format: 'qcow2',
      virtualSize: 1048576,
      dataBytes: 65536,
      clusterSize: 65536,
      sha256: 'b'.repeat(64),
    },
  ],
};

const parse = (value: unknown) => parseManifest(Buffer.from(JSON.stringify(value)));

/** The sound manifest with the value at `path` replaced; undefined removes it. */
function changed(path: string, value: unknown): unknown {
  const copy = structuredClone(sound) as unknown as Record<string, unknown>;
  const steps = path.split('.');
  let place = copy;
  for (const step of steps.slice(0, -1)) place = place[step] as Record<string, unknown>;
  place[steps.at(-1)!] = value;
  return copy;
}

/** The paths of all values, so that every one of them can be made wrong. */
function pathsOf(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, one]) =>
    pathsOf(one, path === '' ? key : `${path}.${key}`),
  );
  return path === '' ? below : [path, ...below];
}

describe('a manifest', () => {
  test('a manifest that is valid is taken as it is', () => {
    expect(JSON.parse(JSON.stringify(parse(sound)))).toEqual(sound);
  });

  test('a manifest may have fields that nobody knows yet', () => {
    expect(parse({ ...sound, later: { x: 1 } }).vm).toEqual(sound.vm);
  });

  test('a manifest of a newer version is refused by that, whatever else it holds', () => {
    expect(() => parse({ format: 'onevmdump', version: 2 })).toThrow(
      'it was written by a newer onevmdump, in format version 2; this one reads version 1',
    );
  });

  test.each([
    ['text', 'hello'],
    ['nothing', ''],
    ['cut JSON', '{"format": "onevm'],
    ['not UTF-8', Buffer.from('"\xff"', 'latin1')],
  ])('a manifest that is %s is no JSON', (_name, bytes) => {
    expect(() => parseManifest(Buffer.from(bytes as string))).toThrow('manifest.json is not JSON');
  });

  test.each(['null', '1', '"x"', '[]', '{}'])('a manifest that is just %s is refused', (text) => {
    expect(() => parseManifest(Buffer.from(text))).toThrow(BundleError);
  });

  test.each(pathsOf(sound))('a manifest is refused when %s is of another type', (path) => {
    for (const wrong of [null, [[]], { x: 1 }, -1, 1.5, 2 ** 53, '']) {
      // Any text, any number that fits, and any dictionary of texts are right in some places.
      if (wrong === '' && isText(path)) continue;
      expect(() => parse(changed(path, wrong))).toThrow(BundleError);
    }
  });

  test.each(pathsOf(sound).filter((path) => !isOptional(path)))(
    'a manifest is refused without %s',
    (path) => {
      expect(() => parse(changed(path, undefined))).toThrow(BundleError);
    },
  );

  test.each([
    ['format', 'tar', 'format is not onevmdump'],
    ['version', 0, 'version is not a version'],
    ['created', 'yesterday', 'created is not a time'],
    ['compression', 'xz', 'compression is not gzip or zstd or none'],
    ['consistency.level', 'magic', 'consistency.level is not'],
    ['members.0.name', './x', 'vm.xml is not the first member'],
    ['members.1.name', './backup.disk.2', 'members and disks do not match'],
    ['members.1.name', '/etc/passwd', 'disk 0 has no member of its own'],
    ['members.1.frames.0.2', 33 * 1024 * 1024, 'members[1].frames[0] is not a whole number'],
    ['members.1.frames.0.3', 2 ** 32, 'members[1].frames[0] is not a whole number'],
    ['members.1.frames.0', [1, 2, 3], 'members[1].frames[0] is not a list of four numbers'],
    ['disks.0.id', 2, 'disk 2 has no member of its own'],
    ['disks.1.id', 0, 'disk 0 occurs twice'],
    ['disks.0.member', './../../etc/passwd', 'must not hold'],
    ['disks.0.virtualSize', 1048577, 'the sizes of disk 0 contradict each other'],
    ['disks.0.dataBytes', 1048577, 'the sizes of disk 0 contradict each other'],
    ['disks.0.clusterSize', 65536, 'the sizes of disk 0 contradict each other'],
    ['disks.1.clusterSize', undefined, 'the sizes of disk 2 contradict each other'],
    ['disks.1.clusterSize', 65537, 'disks[1].clusterSize is not'],
    ['disks.1.dataBytes', 720897, 'the sizes of disk 2 contradict each other'],
    ['disks.0.sha256', 'A'.repeat(64), 'disks[0].sha256 is not a SHA-256'],
    ['disks.0.image.attributes', { x: 1 }, 'an entry of disks[0].image.attributes is not a text'],
    ['vm.name', 'x'.repeat(70_000), 'vm.name is not a text'],
  ])('a manifest is refused when %s is %j', (path, value, message) => {
    expect(() => parse(changed(path, value))).toThrow(message);
  });

  test.each([
    ['vm.hostname', 'x'.repeat(70_000)],
    ['disks.0.image', 'no object'],
    ['disks.0.image.name', 'x'.repeat(70_000)],
    ['disks.0.image.uname', { x: 1 }],
    ['disks.0.image.description', -1],
    ['disks.0.image.attributes', ['x']],
    ['disks.0.image.attributes.DEV_PREFIX', 'x'.repeat(70_000)],
  ])('a manifest is read without %s when that is wrong, and says so', (path, value) => {
    const bytes = Buffer.from(JSON.stringify(changed(path, value)));
    const dropped: string[] = [];
    const manifest = parseManifest(bytes, (reason) => dropped.push(reason));
    expect(dropped).toEqual([expect.stringMatching(/^manifest.json: .* is not /)]);
    expect(manifest.disks.map(({ id, sha256 }) => [id, sha256])).toEqual(
      sound.disks.map(({ id, sha256 }) => [id, sha256]),
    );
    // Whoever writes a manifest is strict.
    expect(() => parseManifest(bytes)).toThrow(BundleError);
  });

  test('a manifest keeps the other attributes of an image when one is wrong', () => {
    const value = { DEV_PREFIX: 'vd', LONG: 'x'.repeat(70_000), LIST: ['x'] };
    const dropped: string[] = [];
    const manifest = parseManifest(
      Buffer.from(JSON.stringify(changed('disks.0.image.attributes', value))),
      (reason) => dropped.push(reason),
    );
    expect(manifest.disks[0]?.image?.attributes).toEqual({ DEV_PREFIX: 'vd' });
    expect(dropped).toHaveLength(2);
  });

  test.each([
    ['lists in lists', '['.repeat(1000), /nested more than 16 deep/],
    ['objects in objects', '{"a":'.repeat(1000), /nested more than 16 deep/],
    ['many values', `[${'{},'.repeat(200_000)}`, /more than 100000 values/],
    ['a long text', `"${'x'.repeat(17 * 1024 * 1024)}"`, /bytes besides its lists of frames/],
    ['a table that never ends', '{"members":[{"frames":[[0,1,1,0],', /is not JSON/],
    ['a table given as a number', JSON.stringify(changed('members.1.frames', 0)), /members\[[12]\].frames is not a list/],
  ])('a manifest with %s is refused before it takes memory', (_name, json, message) => {
    expect(() => parseManifest(Buffer.from(json))).toThrow(message);
  }); // prettier-ignore

  test('a manifest of more disks than a bundle may have is refused', () => {
    const many = Array.from({ length: 513 }, (_, id) => ({ ...sound.disks[0], id }));
    expect(() => parse(changed('disks', many))).toThrow('disks is not a list of at most 512');
  });

  test('a manifest is the same whatever pieces it comes in', () => {
    const bytes = Buffer.from(JSON.stringify(sound, undefined, 1));
    for (const piece of [1, 2, 3, 7, 100]) {
      const scan = new ManifestScan();
      for (let at = 0; at < bytes.length; at += piece) scan.push(bytes.subarray(at, at + piece));
      expect(JSON.stringify(parseScanned(scan.end()))).toBe(JSON.stringify(parse(sound)));
    }
  });

  test('a manifest does not reach the prototype of anything', () => {
    const text = JSON.stringify(sound).replace('"web"', '"web","__proto__":{"polluted":1}');
    expect(parseManifest(Buffer.from(text)).vm.name).toBe('web');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('a manifest of any JSON is refused with BundleError or taken, never anything else', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...pathsOf(sound)), (value, path) => {
        try {
          parse(changed(path, value));
        } catch (error) {
          expect(error).toBeInstanceOf(BundleError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function isText(path: string): boolean {
  return (
    /(?:name|version|state|hostname|uname|DEV_PREFIX)$/.test(path) &&
    !/^(?:version|members)/.test(path)
  );
}

function isOptional(path: string): boolean {
  return (
    /hostname$|uname$|image$|attributes|clusterSize$/.test(path) && path !== 'disks.1.clusterSize'
  );
}
