import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAbout, parseManifest } from '../../lib/bundle/format/manifest-parse.ts';
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

const sum = (mark: string) => mark.repeat(64);
const plain = (name: string, offset: number): Manifest['members'][number] => ({
  name,
  size: 20,
  offset,
  stored: 100,
  frames: [[offset, 100, 1024, 1]],
  sha256: sum('c'),
});

const sound: Manifest = {
  format: 'onevmdump',
  version: 1,
  id: '01234567-89ab-cdef-0123-456789abcdef',
  tool: { name: 'onevmdump', version: '1.0.0' },
  created: '2026-01-02T03:04:05.678Z',
  compression: 'gzip',
  vm: { id: 7, name: 'web', state: 'RUNNING', hostname: 'host1' },
  consistency: { level: 'agent', at: '2026-01-02T03:04:05.678Z', frozenMs: 12 },
  optional: ['./notes'],
  members: [
    plain('./vm.xml', 0),
    plain('./about.json', 100),
    plain('./notes', 200),
    plain('./nvram', 300),
    { name: './backup.disk.0', size: 1048576, offset: 400, stored: 500 },
    plain('./regions.disk.0', 900),
    { name: './backup.disk.2', size: 720896, offset: 1000, stored: 500 },
    plain('./regions.disk.2', 1500),
  ],
  disks: [
    {
      id: 0,
      member: './backup.disk.0',
      format: 'raw',
      virtualSize: 1048576,
      dataBytes: 1024,
      checksum: sum('a'),
      image,
    },
    {
      id: 2,
      member: './backup.disk.2',
      format: 'qcow2',
      virtualSize: 1048576,
      dataBytes: 65536,
      clusterSize: 65536,
      checksum: sum('b'),
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
    ['members.0.name', './x', 'vm.xml and about.json are not the first members'],
    ['members.1.name', './nvram', 'vm.xml and about.json are not the first members'],
    ['members.3.name', './swap', 'must not hold'],
    ['members.3.size', 65 * 1024 * 1024, 'members and disks do not match'],
    ['members.4.name', './backup.disk.2', 'a member occurs twice'],
    ['members.4.name', '/etc/passwd', 'must not hold'],
    ['members.4.sha256', sum('d'), 'does not have the checksum that it should'],
    ['members.5.name', './regions.disk.1', 'disk 0 has no member of its own'],
    ['members.5.sha256', undefined, 'does not have the checksum that it should'],
    ['members.3.frames.0.2', 33 * 1024 * 1024, 'members[3].frames[0] is not a frame'],
    ['members.3.frames.0.3', 2 ** 32, 'members[3].frames[0] is not a frame'],
    ['members.3.frames.0', [1, 2, 3], 'members[3].frames[0] is not a frame'],
    ['optional', ['./../x'], 'optional[0] is not a name'],
    ['id', '0', 'id is not a UUID'],
    ['disks.0.id', 2, 'disk 2 has no member of its own'],
    ['disks.1.id', 0, 'disk 0 is not in its place'],
    ['disks.0.member', './../../etc/passwd', 'must not hold'],
    ['disks.0.virtualSize', 1048577, 'the sizes of disk 0 contradict each other'],
    ['disks.0.dataBytes', 1048577, 'the sizes of disk 0 contradict each other'],
    ['disks.0.clusterSize', 65536, 'the sizes of disk 0 contradict each other'],
    ['disks.1.clusterSize', undefined, 'the sizes of disk 2 contradict each other'],
    ['disks.1.clusterSize', 65537, 'disks[1].clusterSize is not'],
    ['disks.1.dataBytes', 720897, 'the sizes of disk 2 contradict each other'],
    ['disks.0.checksum', sum('A'), 'disks[0].checksum is not a SHA-256'],
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
    expect(manifest.disks.map(({ id, checksum }) => [id, checksum])).toEqual(
      sound.disks.map(({ id, checksum }) => [id, checksum]),
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
    ['lists in lists', '['.repeat(3_000_000), /is not JSON/],
    ['objects in objects', '{"a":'.repeat(700_000), /is not JSON/],
    ['many values', `[${'{},'.repeat(1_300_000)}{}]`, /is not an object/],
    ['a long text', `"${'x'.repeat(5 * 1024 * 1024)}"`, /has more than 4194304 bytes/],
  ])('a manifest with %s is refused', (_name, json, message) => {
    expect(() => parseManifest(Buffer.from(json))).toThrow(message);
  });

  test('a manifest that requires what this reader does not know is refused with that word', () => {
    expect(() => parse({ ...sound, requires: ['magic'] })).toThrow('knows "magic"');
    expect(() => parse({ ...sound, requires: ['magic'], vm: 1 })).toThrow('knows "magic"');
  });

  test('what is known before the disks are read is a part of the manifest', () => {
    const about = parseAbout(Buffer.from(JSON.stringify(sound)));
    expect(about.vm).toEqual(sound.vm);
    expect(about.disks[0]).not.toHaveProperty('checksum');
    expect(about).not.toHaveProperty('members');
  });

  test('a manifest of more disks than a bundle may have is refused', () => {
    const many = Array.from({ length: 513 }, (_, id) => ({ ...sound.disks[0], id }));
    expect(() => parse(changed('disks', many))).toThrow('disks is not a list of at most 512');
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
  // A member that may be skipped need not be there, nor need the last of the disk's list.
  return (
    /hostname$|uname$|image$|attributes|clusterSize$/.test(path) && path !== 'disks.1.clusterSize'
  );
}
