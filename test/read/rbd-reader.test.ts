// The reader with a stand-in for rbd: real processes, which print what the test has prepared.
import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import type { Extent } from '../../lib/read/extent.ts';
import { openRbdReader, type RbdReaderOptions } from '../../lib/read/rbd-reader.ts';
import { CommandError, FailedError, InterruptedError } from '../../lib/report/errors.ts';
import { localRunner } from '../../lib/run/local-runner.ts';
import type { Runner } from '../../lib/run/runner.ts';
import { data, diffJson, end, head, size, to, zero } from '../support/rbd-streams.ts';
import { inFolder, quiet, wholeDisk } from '../support/nbd-servers.ts';

const KiB = 1024;
const diskSize = 256 * KiB;
const source = { access: { user: 'one' }, image: 'one/a', snapshot: 'b', virtualSize: diskSize };
const opening = [head, to('b'), size(diskSize)];
const ones = Buffer.alloc(4 * KiB, 1);

interface Scene {
  /** What `rbd diff` prints. */
  readonly extents?: readonly Extent[];
  /** What `rbd export-diff` prints. */
  readonly stream?: readonly Buffer[];
  /** Lines of bash instead of printing it; $out is the stream in a file. */
  readonly script?: string;
}

async function inScene(
  { extents = [], stream = [], script = 'cat "$out"' }: Scene,
  body: (reader: DiskReader, folder: string) => Promise<void>,
  options: Partial<RbdReaderOptions> = {},
): Promise<void> {
  await inFolder(async (folder) => {
    await writeFile(join(folder, 'diff'), diffJson(extents));
    await writeFile(join(folder, 'out'), Buffer.concat(stream));
    const real = localRunner(quiet);
    const runner: Runner = {
      ...real,
      startPiped({ program, args }) {
        expect([program, ...args.slice(0, 2)]).toEqual(['rbd', '--id', 'one']);
        const lines = args[2] === 'diff' ? `cat '${folder}/diff'` : script;
        const env = { out: join(folder, 'out'), folder };
        return real.startPiped({ program: 'bash', args: ['-c', lines], env });
      },
    };
    const signal = new AbortController().signal;
    const reader = openRbdReader(source, { runner, signal, label: 'disk 0 of VM 7', ...options });
    try {
      await body(reader, folder);
    } finally {
      await reader.close();
    }
  });
}

async function failure(scene: Scene, options?: Partial<RbdReaderOptions>): Promise<unknown> {
  let error: unknown;
  await inScene(
    scene,
    async (reader) => {
      error = await wholeDisk(reader).catch((reason: unknown) => reason);
    },
    options,
  );
  return error;
}

async function read(reader: DiskReader, extents: readonly Extent[]): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of reader.read(extents)) pieces.push(piece);
  return Buffer.concat(pieces);
}

const twoExtents = [
  { offset: 0, length: 8 * KiB },
  { offset: 64 * KiB, length: 4 * KiB },
];

describe('an RBD image', () => {
  test('an RBD image is read as its extents and its data say', () =>
    inScene(
      { extents: twoExtents, stream: [...opening, data(0, ones), data(64 * KiB, ones), end] },
      async (reader) => {
        expect(reader.virtualSize).toBe(diskSize);
        expect([...(await reader.extents())]).toEqual(twoExtents);
        const expected = Buffer.alloc(diskSize);
        expected.set(ones, 0);
        expected.set(ones, 64 * KiB);
        expect((await wholeDisk(reader)).equals(expected)).toBe(true);
      },
    ));

  test('an RBD image has zeros where extents were announced that came as zeros, or never', () =>
    inScene(
      { extents: twoExtents, stream: [...opening, zero(0, 8 * KiB), end] },
      async (reader) => {
        expect((await wholeDisk(reader)).equals(Buffer.alloc(diskSize))).toBe(true);
      },
    ));

  test('an RBD image gives what is wanted, also across its extents', () =>
    inScene(
      { extents: twoExtents, stream: [...opening, data(0, ones), data(64 * KiB, ones), end] },
      async (reader) => {
        const wanted = [
          { offset: 1000, length: 100 },
          { offset: 4000, length: 200 },
          { offset: 65_000, length: 1000 },
        ];
        const expected = Buffer.concat([
          Buffer.alloc(100, 1),
          Buffer.alloc(96, 1),
          Buffer.alloc(104),
          Buffer.alloc(536),
          Buffer.alloc(464, 1),
        ]);
        expect((await read(reader, wanted)).equals(expected)).toBe(true);
      },
    ));

  test('an RBD image of 50,000 extents takes little CPU time', async () => {
    const count = 50_000;
    const virtualSize = count * 8 * KiB;
    const extents = Array.from({ length: count }, (_, at) => ({
      offset: at * 8 * KiB,
      length: 4 * KiB,
    }));
    const stream = [
      head,
      to('b'),
      size(virtualSize),
      ...extents.map(({ offset }) => data(offset, ones)),
      end,
    ];
    await inScene({ extents, stream }, async (_, folder) => {
      const real = localRunner(quiet);
      const runner: Runner = {
        ...real,
        startPiped: ({ args }) =>
          real.startPiped({
            program: 'cat',
            args: [join(folder, args.includes('diff') ? 'diff' : 'out')],
          }),
      };
      const before = process.cpuUsage();
      const reader = openRbdReader(
        { ...source, virtualSize },
        { runner, signal: new AbortController().signal, label: 'disk 0' },
      );
      let bytes = 0;
      for await (const piece of reader.read(await reader.extents())) bytes += piece.length;
      await reader.close();
      expect(bytes).toBe(count * 4 * KiB);
      // Microseconds. Ten times what a loaded machine needs.
      const { user, system } = process.cpuUsage(before);
      expect(user + system).toBeLessThan(60_000_000);
    });
  });
});

describe('an RBD image is not read to a wrong end:', () => {
  test('an RBD image is not read to a wrong end: data that the map does not have is an error', async () => {
    const stream = [...opening, data(0, ones), data(128 * KiB, ones), end];
    expect(await failure({ extents: twoExtents, stream })).toEqual(
      new FailedError(
        `cannot read disk 0 of VM 7: rbd export-diff gave data at ${128 * KiB} where rbd diff had announced none`,
      ),
    );
  });

  test('an RBD image is not read to a wrong end: a stream that ends early is an error, also when rbd says it did well', async () => {
    expect(await failure({ extents: twoExtents, stream: [...opening, data(0, ones)] })).toEqual(
      new FailedError('cannot read disk 0 of VM 7: rbd export-diff ended early'),
    );
  });

  test('an RBD image is not read to a wrong end: the failure of rbd is told in its own words', async () => {
    const script =
      'head -c 2000 "$out"; echo "rbd: export-diff error: (5) Input/output error" >&2; exit 5';
    const error = await failure({
      extents: twoExtents,
      stream: [...opening, data(0, ones)],
      script,
    });
    expect(error).toBeInstanceOf(CommandError);
    expect((error as CommandError).message).toBe(
      'cannot read disk 0 of VM 7: rbd: export-diff error: (5) Input/output error',
    );
    expect((error as CommandError).status).toBe(5);
  });

  test('an RBD image is not read to a wrong end: the failure of rbd behind a whole stream is an error, too', async () => {
    const script = 'cat "$out"; exit 5';
    const error = await failure({ extents: twoExtents, stream: [...opening, end], script });
    expect((error as CommandError).message).toContain('it ended with status 5');
  });

  test('an RBD image is not read to a wrong end: silence is an error, and ends rbd', async () => {
    const script = 'head -c 100 "$out"; exec sleep 60';
    const started = performance.now();
    const error = await failure(
      { extents: twoExtents, stream: [...opening, data(0, ones)], script },
      { stallMs: 300 },
    );
    expect(error).toEqual(new FailedError('cannot read disk 0 of VM 7: rbd: no answer for 0.3 s'));
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test('an RBD image is not read to a wrong end: a signal ends rbd, and is the error', async () => {
    const controller = new AbortController();
    const reason = new InterruptedError('SIGTERM');
    setTimeout(() => controller.abort(reason), 200);
    const script = 'head -c 100 "$out"; exec sleep 60';
    const scene = { extents: twoExtents, stream: [...opening, data(0, ones)], script };
    expect(await failure(scene, { signal: controller.signal })).toBe(reason);
  });
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
}

describe('a reader that is closed', () => {
  // Prints for ever, and notes how far it came.
  const script = `cat "$out"
trap 'touch "$folder/ended"' EXIT
for ((number = 1; ; number++)); do
  head -c 65536 /dev/zero || exit
  echo "$number" > "$folder/printed"
done`;
  const endless: Scene = {
    extents: [{ offset: 0, length: diskSize }],
    stream: [...opening, Buffer.from('w'), Buffer.alloc(8), Buffer.from([0, 0, 4, 0, 0, 0, 0, 0])],
    script,
  };

  test('closing an RBD reader while nobody reads lets rbd wait, and then ends it', () =>
    inScene(endless, async (reader, folder) => {
      const before = timers();
      const pieces = reader.read([{ offset: 0, length: diskSize }])[Symbol.asyncIterator]();
      await pieces.next();
      await sleep(500);
      // A pipe, and what Node reads ahead.
      expect(Number(await readFile(join(folder, 'printed'), 'utf8'))).toBeLessThan(20);
      await reader.close();
      expect(existsSync(join(folder, 'ended'))).toBe(true);
      // One that is left keeps the whole process.
      expect(timers()).toBeLessThanOrEqual(before);
    }));

  test('closing an RBD reader more than once, or before it was used, succeeds', () =>
    inScene({}, async (reader) => {
      await reader.close();
      await reader.close();
      await expect(reader.extents()).rejects.toThrow('is no longer read');
    }));
});
