// What goes wrong while a bundle is written: the first error surfaces, and nothing is left.
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import type { CompressingCodec, FrameCodec } from '../../lib/bundle/write/frame-codec.ts';
import type { BundleSink } from '../../lib/bundle/sink.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { DiskReader } from '../../lib/read/disk-reader.ts';
import { Extents } from '../../lib/read/extents.ts';
import { silent } from '../../lib/report/progress.ts';
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { writeBundle } from '../../lib/write-bundle.ts';
import { fileVm } from '../support/file-vm.ts';
import { inWorld } from '../support/storage-world.ts';
import { aboutOf, noise, noLog, testFolder } from '../support/write-bundle.ts';

const MiB = 1 << 20;
const gzip = (await pickCompressor({ method: 'gzip' })) as CompressingCodec;
const none: FrameCodec = { compression: 'none', name: 'none' };
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

function scratchFilesOpen(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.includes('onevmdump-') && target.endsWith('(deleted)') ? [target] : [];
    } catch {
      return [];
    }
  });
}

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
  expect(scratchFilesOpen()).toEqual([]);
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

  /** Dumps 40 MiB with a shell script in place of igzip. */
  async function dumpWith(script: string, signal = new AbortController().signal) {
    writeFileSync(join(folder.path, 'igzip'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env['PATH'] = `${folder.path}:${path ?? ''}`;
    const writer = new BundleWriter(endless(), gzip, { ...options, signal });
    try {
      await write(writer, reader(40 * MiB));
      await writer.addFile('./behind', data);
    } finally {
      await expectNothingLeft(writer);
    }
  }

  test.each([
    ['fails', 'echo "igzip: out of ink" >&2; exit 3', 'cannot compress a frame: igzip: out of ink'],
    ['fails without a word', 'exit 3', 'cannot compress a frame: igzip: exited with status 3'],
    ['is killed', 'kill -9 $$', 'cannot compress a frame: igzip: was killed by signal 9'],
    ['writes nothing', 'exit 0', 'cannot compress a frame: the output of igzip is not complete'],
    ['stops early', 'gzip -1c | head -c 5000', 'the output of igzip is not complete'],
    ['reads only a part', 'head -c 5000 | gzip -1c', 'the output of igzip is not complete'],
  ])('a compressor that %s is noticed', async (_, script, message) => {
    await expect(dumpWith(script)).rejects.toThrow(message);
  });

  test('a compressor that has vanished is named', async () => {
    process.env['PATH'] = join(folder.path, 'nowhere');
    const writer = new BundleWriter(endless(), gzip, options);
    await expect(write(writer, reader(80 * MiB))).rejects.toThrow('igzip: is not installed');
    await expectNothingLeft(writer);
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
      compression: { method: 'none' },
    } as const;
    await expect(writeBundle(target, content, run)).rejects.toThrow('the sink is full');
    expect(warnings).toEqual(['cannot remove small: it is stuck']);
  }));
