// What goes wrong while a bundle is written: the first error surfaces, and nothing is left.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import type { BundleSink } from '../../lib/bundle/sink.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import { Extents } from '../../lib/read/extents.ts';
import { silent } from '../../lib/report/progress.ts';
import { pickCompressor, type FrameCodec } from '../../lib/bundle/write/compressor.ts';
import { writeBundle } from '../../lib/write-bundle.ts';
import { fileVm } from '../support/file-vm.ts';
import { inWorld } from '../support/storage-world.ts';
import { aboutOf, noise, noLog, testFolder, noCompression } from '../support/write-bundle.ts';

const MiB = 1 << 20;
const gzip = await pickCompressor({ method: 'gzip' });
const none = noCompression;
const igzip = await pickCompressor({ method: 'gzip' }, { koffi: [] });
const data = noise(MiB);

/** A disk of `size` bytes, all data; `piece` may do something else before each MiB. */
function reader(size: number, piece: (n: number) => void | Promise<void> = () => undefined) {
  return {
    virtualSize: size,
    extents: () => Promise.resolve(Extents.whole(size)),
    async *read() {
      for (let n = 0; n * MiB < size; n++) {
        await piece(n);
        yield data.subarray(0, Math.min(MiB, size - n * MiB));
      }
    },
    close: () => Promise.resolve(),
  } satisfies DiskReader;
}

/** A sink that takes `room` bytes. */
function smallSink(room: number): BundleSink {
  let taken = 0;
  return {
    name: 'small',
    write(bytes) {
      taken += bytes.length;
      return taken > room ? Promise.reject(new Error('the sink is full')) : Promise.resolve();
    },
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve(),
  };
}

const endless = () => smallSink(Infinity);

function write(writer: BundleWriter, disk: DiskReader) {
  return writer.addDisk({ id: 0, format: 'raw' }, disk, silent.begin('', 0));
}

const options = { created: new Date(), log: noLog };

/** Compressors this process has started and that still run, or were not waited for. */
function compressorsRunning(): string[] {
  return readdirSync('/proc/self/task')
    .flatMap((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' '))
    .filter((pid) => pid !== '')
    .map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
    .filter((name) => name !== 'esbuild');
}

async function expectNothingLeft(writer: BundleWriter): Promise<void> {
  await writer.abort();
  await writer.abort();
  expect(compressorsRunning()).toEqual([]);
}

const codecs: [string, FrameCodec][] = [
  ['gzip', gzip],
  ['none', none],
];

describe.each(codecs)('with compression %s', (compression, codec) => {
  test(`with compression ${compression}, an error of the reader surfaces as it is`, async () => {
    const writer = new BundleWriter(endless(), codec, options);
    const broken = new Error('the storage is gone');
    const disk = reader(60 * MiB, (n) => {
      if (n === 50) throw broken;
    });
    await expect(write(writer, disk)).rejects.toBe(broken);
    await expectNothingLeft(writer);
  });

  test(`with compression ${compression}, a full sink ends the dump with its error`, async () => {
    const writer = new BundleWriter(smallSink(20 * MiB), codec, options);
    await expect(write(writer, reader(200 * MiB))).rejects.toThrow('the sink is full');
    await expectNothingLeft(writer);
  });

  test(`with compression ${compression}, a sink that is full only at the end lets finish fail`, async () => {
    const writer = new BundleWriter(smallSink(MiB), codec, options);
    await writer.addAbout(aboutOf([]));
    await write(writer, reader(3 * MiB)).catch(() => undefined);
    await expect(writer.finish([])).rejects.toThrow('the sink is full');
    await expectNothingLeft(writer);
  });

  test(`with compression ${compression}, an abort ends a dump whose reader gives no answer`, async () => {
    const controller = new AbortController();
    const writer = new BundleWriter(endless(), codec, { ...options, signal: controller.signal });
    const stuck = reader(60 * MiB, (n) => (n === 40 ? new Promise(() => undefined) : undefined));
    const dump = write(writer, stuck);
    setTimeout(() => controller.abort(new Error('enough')), 100);
    await expect(dump).rejects.toThrow('enough');
    await expectNothingLeft(writer);
  });

  test(`with compression ${compression}, an abort ends a dump that is going on`, async () => {
    const controller = new AbortController();
    const writer = new BundleWriter(endless(), codec, { ...options, signal: controller.signal });
    const disk = reader(1000 * MiB, (n) => {
      if (n === 70) controller.abort(new Error('enough'));
    });
    await expect(write(writer, disk)).rejects.toThrow('enough');
    await expectNothingLeft(writer);
  });

  test(`with compression ${compression}, an abort of the writer alone ends a dump that is going on`, async () => {
    const writer = new BundleWriter(endless(), codec, options);
    let aborted: Promise<void> | undefined;
    const disk = reader(300 * MiB, (n) => {
      if (n === 70) aborted = writer.abort();
    });
    const dump = write(writer, disk).catch(() => undefined);
    await dump;
    await aborted;
    await expectNothingLeft(writer);
  });

  test.each([
    ['less', -1],
    ['more', 1],
  ])(
    `with compression ${compression}, a reader that gives %s than it announced is an error`,
    async (word, by) => {
      const writer = new BundleWriter(endless(), codec, options);
      const liar: DiskReader = {
        ...reader(5 * MiB + by),
        virtualSize: 8 * MiB,
        extents: () => Promise.resolve(Extents.whole(5 * MiB)),
      };
      await expect(write(writer, liar)).rejects.toThrow(`its storage gave ${word} than`);
      await expectNothingLeft(writer);
    },
  );
});

test('a disk with more data than its region table can list is refused before it is read', async () => {
  const writer = new BundleWriter(endless(), none, options);
  const disk = reader(30 * 2 ** 40, () => {
    throw new Error('it was read');
  });
  await expect(write(writer, disk)).rejects.toThrow(
    'a disk has at most 16 TiB of data in a bundle',
  );
});

test('a disk cannot be added twice', async () => {
  const writer = new BundleWriter(endless(), none, options);
  await write(writer, reader(MiB));
  await expect(write(writer, reader(MiB))).rejects.toThrow('would be in it twice');
});

describe('a compressor that', () => {
  const folder = testFolder();
  const path = process.env['PATH'];
  afterAll(folder.remove);
  afterEach(() => {
    process.env['PATH'] = path;
  });

  /** Dumps 40 MiB with a shell script in place of igzip, which does well in the self-test. */
  async function dumpWith(script: string, signal = new AbortController().signal) {
    const input = join(folder.path, 'input.$$');
    const lines = [
      '#!/bin/sh',
      `head -c 100000 > ${input}`,
      `[ $(wc -c < ${input}) = 100000 ] || exec gzip -1c < ${input}`,
      script,
    ];
    writeFileSync(join(folder.path, 'igzip'), lines.join('\n'), { mode: 0o755 });
    process.env['PATH'] = `${folder.path}:${path ?? ''}`;
    const writer = new BundleWriter(endless(), igzip, { ...options, signal });
    try {
      await write(writer, reader(40 * MiB));
      await writer.addFile('./behind', data);
    } finally {
      await expectNothingLeft(writer);
    }
  }

  test.each([
    ['fails', 'echo "igzip: out of ink" >&2; exit 3', 'igzip: out of ink'],
    ['fails without a word', 'exit 3', 'igzip: exited with status 3'],
    ['is killed', 'kill -9 $$', 'igzip: was killed by SIGKILL'],
    ['writes nothing', 'exit 0', 'it is too short'],
    ['stops early', 'gzip -1c | head -c 5000', 'it states another length'],
    ['reads only a part', 'head -c 5000 | gzip -1c', 'it states another length'],
    ['writes too much', 'cat; cat $0; head -c 20000000 /dev/zero', 'more than the frame can be'],
  ])('a compressor that %s is noticed', async (_, script, message) => {
    await expect(dumpWith(script)).rejects.toThrow(message);
  });

  test('a compressor that hangs is killed by an abort', async () => {
    const signal = AbortSignal.timeout(300);
    await expect(dumpWith('exec sleep 1000', signal)).rejects.toThrow('timeout');
  });
});

test('a bundle that cannot be removed after a failure is a warning, and the failure is the error', () =>
  inWorld(async (world) => {
    const warnings: string[] = [];
    const run = {
      ...world.run,
      log: { ...noLog, warn: (text: string) => void warnings.push(text) },
    };
    const sink = {
      ...smallSink(0),
      discard: () => Promise.reject(new Error('cannot remove small: it is stuck')),
    };
    const undo = { kind: 'remove-file', path: join(world.outside, 'small.part') } as const;
    const target = { name: 'small', host: undefined, undo, open: () => Promise.resolve(sink) };
    const { xml } = await fileVm(world.outside, 7, [{ id: 0 }]);
    const content = {
      vm: parseVm(Buffer.from(xml)),
      started: new Date(),
      disks: [],
      images: new Map(),
      consistency: { level: 'offline', at: new Date().toISOString(), frozenMs: 0 },
      codec: await pickCompressor({ method: 'none' }),
    } as const;
    await expect(writeBundle(target, content, run)).rejects.toThrow('the sink is full');
    expect(warnings).toEqual(['cannot remove small: it is stuck']);
  }));
