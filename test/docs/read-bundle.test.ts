// docs/read-bundle.py, which was written from docs/bundle-format.md alone, reads what our writer writes, and finds what is damaged.
// GNU tar, bsdtar and Python's tarfile extract the same disks.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { framesOf, MiB, openPath, withBundle } from '../support/read-bundle.ts';
import {
  makeDisk,
  noCompression,
  noise,
  testFolder,
  tool,
  writeBundle,
  type TestDisk,
} from '../support/write-bundle.ts';

const program = join(import.meta.dirname, '../../docs/read-bundle.py');
const folder = testFolder();
afterAll(folder.remove);
const at = (name: string) => join(folder.path, name);

const python = (...args: string[]) =>
  execFileSync('python3', [program, ...args], { maxBuffer: 1 << 28 });

/** Runs the reader on a damaged bundle: its exit code and what it says. */
function refused(...args: string[]): string {
  const { status, stderr } = spawnSync('python3', [program, ...args], { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^[^\n]*: [^\n]+\n$/);
  expect(stderr).not.toContain('Traceback');
  return stderr;
}

/** Runs a script with the reader's functions in `reader`. @returns what it prints */
function inPython(script: string, ...args: string[]): string {
  const load = 'import json,os,random,runpy,sys\nreader = runpy.run_path(sys.argv[1])\n';
  return tool('python3', '-c', load + script, program, ...args);
}

/** Compares every third region with the disk, reading the region table anew each time, and counts them. */
const eachRegion = `
count = 0
bundle = reader['Bundle'](sys.argv[2])
for number, path in enumerate(sys.argv[3:]):
    disk = open(path, 'rb')
    for n in range(0, bundle.disk(number).count, 3):
        disk.seek(n << 20)
        assert bundle.disk(number).region(n)[1] == disk.read(1 << 20), (number, n)
        count += 1
print(count)
`;

/** Flips one bit after another, and counts those that are found. With the others each disk must be as it was. */
const eachFlip = `
whole = open(sys.argv[2], 'rb').read()
random.seed(14)
found = 0
for _ in range(int(sys.argv[3])):
    at, bit = random.randrange(len(whole)), random.randrange(8)
    flipped = bytearray(whole)
    flipped[at] ^= 1 << bit
    with open(sys.argv[2] + '.flipped', 'wb') as file:
        file.write(flipped)
    try:
        bundle = reader['Bundle'](sys.argv[2] + '.flipped')
        bundle.verify()
    except reader['FAULTS']:
        found += 1
        continue
    for number, path in enumerate(sys.argv[4:]):
        content = b''.join(region for _, region, _ in bundle.disk(number).regions())
        assert content == open(path, 'rb').read(), (at, bit)
print(found)
`;

const raw = { format: 'raw' } as const;
const qcow2 = (clusterSize: 512 | 65_536 | 2_097_152) =>
  ({ format: 'qcow2', clusterSize }) as const;
const comb = (count: number, length: number, step: number) =>
  Array.from({ length: count }, (_, n) => ({ offset: n * step, length }));

/** The disks of one bundle. Only the `data` is not zeros; all of the extents is stored. */
const disks: readonly (Omit<TestDisk, 'path'> & {
  readonly data?: TestDisk['extents'];
})[] = [
  { virtualSize: 0, extents: [], layout: raw },
  { virtualSize: 1, extents: [{ offset: 0, length: 1 }], layout: raw },
  { virtualSize: 3 * MiB + 77, extents: [{ offset: 4096, length: 12_345 }], layout: raw },
  { virtualSize: 5 * MiB, extents: [], layout: raw },
  // Thick zeros: the whole disk is stored.
  {
    virtualSize: 3 * MiB,
    extents: [{ offset: 0, length: 3 * MiB }],
    data: [{ offset: MiB + 100, length: 5000 }],
    layout: raw,
  },
  // Several frames; extents that cross regions.
  { virtualSize: 20 * MiB + 513, extents: [{ offset: 512, length: 19 * MiB }], layout: raw },
  { virtualSize: 16 * MiB, extents: comb(2000, 512, 8192), layout: raw },
  { virtualSize: 0, extents: [], layout: qcow2(65_536) },
  { virtualSize: 9 * MiB + 512, extents: comb(9, 70_000, MiB + 512), layout: qcow2(65_536) },
  { virtualSize: 2 * MiB, extents: comb(100, 700, 20_000), layout: qcow2(512) },
  { virtualSize: 13 * MiB, extents: comb(2, 100, 11 * MiB), layout: qcow2(2_097_152) },
];

const nvram = noise(100_000);
let made: TestDisk[];
beforeAll(async () => {
  made = [];
  for (const [id, { data, ...disk }] of disks.entries()) {
    const path = at(`disk.${id}`);
    await makeDisk(path, disk.virtualSize, data ?? disk.extents);
    made.push({ ...disk, path });
  }
});

const extractors: readonly (readonly [string, (bundle: string, to: string) => string])[] = [
  ['GNU tar', (bundle, to) => tool('tar', '-xaf', bundle, '-C', to)],
  ['bsdtar', (bundle, to) => tool('bsdtar', '-xf', bundle, '-C', to)],
  [
    "Python's tarfile",
    (bundle, to) => {
      // It does not know zstd.
      const script = 'import tarfile,sys; tarfile.open(sys.argv[1]).extractall(sys.argv[2])';
      const tar = bundle.endsWith('.zst') ? at('plain.tar') : bundle;
      if (tar !== bundle) tool('zstd', '-dqf', bundle, '-o', tar);
      return tool('python3', '-c', script, tar, to);
    },
  ],
];

const flips = 40;

describe.each([
  ['gzip', 'tar.gz'],
  ['zstd', 'tar.zst'],
  ['none', 'tar'],
] as const)('read-bundle.py on a bundle (%s)', (method, extension) => {
  const bundle = at(`bundle.${extension}`);
  beforeAll(async () => {
    await writeBundle(bundle, await pickCompressor({ method }), made, { nvram });
  });

  test(`read-bundle.py verifies a bundle (${method}) of raw and qcow2 disks of all forms`, () => {
    expect(python('verify', bundle).toString()).toBe('OK: all checksums match\n');
  });

  test(`read-bundle.py lists a bundle (${method}) as our reader does`, () =>
    withBundle(bundle, ({ manifest }) => {
      const lines = manifest!.disks.map(
        ({ id, format, virtualSize, dataBytes, checksum }) =>
          `disk ${id} ${format} ${virtualSize} ${dataBytes} ${checksum}`,
      );
      const { id, created, vm } = manifest!;
      const head = `${id} ${created} VM ${vm.id} ${vm.name}`;
      expect(python('list', bundle).toString()).toBe(`${[head, ...lines].join('\n')}\n`);
      return Promise.resolve();
    }));

  test(`read-bundle.py extracts each disk of a bundle (${method}), also qcow2 ones, as the guest sees it`, () => {
    for (const [id, { path }] of made.entries()) {
      const out = at('out');
      python('disk', bundle, String(id), out);
      tool('cmp', path, out);
      rmSync(out);
    }
  });

  test(`read-bundle.py reads each region of each disk of a bundle (${method}) alone`, () => {
    const read = inPython(eachRegion, bundle, ...made.map(({ path }) => path));
    const all = made.reduce((sum, { virtualSize }) => sum + Math.ceil(virtualSize / MiB / 3), 0);
    expect(read).toBe(`${all}\n`);
    expect(python('region', bundle, '1', '0')).toEqual(readFileSync(at('disk.1')));
  });

  test.each(extractors)(
    `%s extracts from a bundle (${method}) the disks that read-bundle.py extracts`,
    (name, extractAll) => {
      const to = at(`${method} ${name}`);
      mkdirSync(to);
      extractAll(bundle, to);
      for (const [id, { path, layout, virtualSize }] of made.entries()) {
        const file = join(to, `backup.disk.${id}`);
        if (layout.format === 'raw') tool('cmp', path, file);
        else if (virtualSize > 0)
          tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', path, file);
      }
      expect(readFileSync(join(to, 'nvram'))).toEqual(nvram);
      rmSync(to, { recursive: true });
    },
  );

  test(`read-bundle.py reads a region of a bundle (${method}) although another frame of the disk is damaged`, async () => {
    const frames = await withBundle(bundle, (opened) => framesOf(opened, 5));
    expect(frames.length).toBeGreaterThan(2);
    const bytes = readFileSync(bundle);
    const [offset, stored] = frames.at(-1)!;
    bytes[offset + Math.floor(stored / 2)]! ^= 4;
    const damaged = at(`damaged.${extension}`);
    writeFileSync(damaged, bytes);
    expect(python('region', damaged, '5', '0')).toHaveLength(MiB);
    expect(refused('region', damaged, '5', '18')).toContain(`the frame at byte ${offset}`);
    expect(refused('disk', damaged, '5', at('out'))).toContain('is damaged');
    expect(existsSync(at('out'))).toBe(false);
    expect(refused('verify', damaged)).toContain(`the frame at byte ${offset}`);
  });

  test(`read-bundle.py refuses a bundle (${method}) that is cut off, and what a bundle does not have`, () => {
    const cut = at(`cut.${extension}`);
    const bytes = readFileSync(bundle);
    for (const size of [0, 100, bytes.length >> 1, bytes.length - 1]) {
      writeFileSync(cut, bytes.subarray(0, size));
      expect(refused('list', cut)).toMatch(/trailer/);
    }
    writeFileSync(cut, Buffer.concat([bytes, Buffer.alloc(10_000)]));
    expect(python('verify', cut).toString()).toBe('OK: all checksums match\n');
    expect(refused('region', bundle, '99', '0')).toContain('it has no disk 99');
    expect(refused('region', bundle, '1', '1')).toContain('there is no region 1 of disk 1');
  });
});

test.each(['gzip', 'zstd', 'none'] as const)(
  'read-bundle.py finds every flipped bit of a bundle (%s) that changes a disk',
  async (method) => {
    const small: TestDisk[] = [];
    for (const [n, layout] of [raw, qcow2(512)].entries()) {
      const extents = comb(3, 3000, 30_000);
      await makeDisk(at(`small.${n}`), 100_352, extents);
      small.push({ path: at(`small.${n}`), virtualSize: 100_352, extents, layout });
    }
    const bundle = at(`small-${method}`);
    await writeBundle(bundle, await pickCompressor({ method }), small, {
      nvram: nvram.subarray(0, 600),
    });
    const paths = small.map(({ path }) => path);
    const found = Number(inPython(eachFlip, bundle, String(flips), ...paths));
    // Only headers of compressed frames have bits that mean nothing, such as the time.
    expect(found).toBeGreaterThanOrEqual(method === 'none' ? flips : flips * 0.7);
  },
);

test('read-bundle.py reads a disk of more than 1 TiB, which has regions of 2 MiB', async () => {
  const virtualSize = 2 ** 40 + 512;
  const extents = [{ offset: 2 ** 40, length: 512 }];
  await makeDisk(at('large'), virtualSize, extents);
  const disk = { path: at('large'), virtualSize, extents, layout: raw };
  await writeBundle(at('large.tar.gz'), await pickCompressor({ method: 'gzip' }), [disk]);
  expect(python('verify', at('large.tar.gz')).toString()).toBe('OK: all checksums match\n');
  const [first, last] = ['0', String(2 ** 19)].map((n) =>
    python('region', at('large.tar.gz'), '0', n),
  );
  expect(first).toEqual(Buffer.alloc(2 * MiB));
  expect(last).toEqual(noise(512, 2 ** 40 + 1));
});

test('our reader and read-bundle.py have the same checksum for the same disk, raw and qcow2', async () => {
  const extents = comb(5, 9000, 400_000);
  await makeDisk(at('same'), 2 * MiB, extents);
  const both = [raw, qcow2(65_536)].map((layout) => ({
    path: at('same'),
    virtualSize: 2 * MiB,
    extents,
    layout,
  }));
  await writeBundle(at('same.tar'), noCompression, both);
  const bundle = await openPath(at('same.tar'));
  const [one, other] = bundle.manifest!.disks;
  await bundle.close();
  expect(one!.checksum).toBe(other!.checksum);
  expect(python('list', at('same.tar')).toString().split(one!.checksum)).toHaveLength(3);
});
