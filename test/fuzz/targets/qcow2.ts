// Headers and tables of qcow2 files, of images on a storage and of disks in a bundle.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { headerFields } from '../../../lib/qcow2/format.ts';
import { Extents } from '../../../lib/read/extents.ts';
import { declaredVirtualSize, type Qcow2Header } from '../../../lib/qcow2/header.ts';
import { requireWhole } from '../../../lib/qcow2/image-extent.ts';
import { readImageLayer, type ImageLayer } from '../../../lib/qcow2/image-layer.ts';
import { layOutQcow2 } from '../../../lib/qcow2/layout.ts';
import { readStandAloneHeader } from '../../../lib/qcow2/stand-alone.ts';
import { Qcow2StreamCheck } from '../../../lib/qcow2/stream-check.ts';
import { neededEndOfStream } from '../../../lib/qcow2/stream-extent.ts';
import { mutate, type Chance } from '../mutations.ts';
import { changeField } from '../numbers.ts';
import { inEachWay, printing } from '../reading.ts';
import { must, type Accepted, type Target } from '../target.ts';

const kib = 1024;

function inTemporaryFolder<T>(body: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
  try {
    return body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Images as qemu-img makes them, with some data. */
function images(): readonly Buffer[] {
  const kinds = ['cluster_size=512', 'compat=0.10,cluster_size=4k', 'refcount_bits=1,cluster_size=4k', 'extended_l2=on,cluster_size=16k', 'lazy_refcounts=on,cluster_size=4k']; // prettier-ignore
  return inTemporaryFolder((folder) => {
    const [raw, path] = [join(folder, 'raw'), join(folder, 'image')];
    const disk = Buffer.alloc(96 * kib);
    disk.fill('data', 8 * kib, 12 * kib).fill('more', 60 * kib, 61 * kib);
    writeFileSync(raw, disk);
    const convert = (...args: readonly string[]): Buffer => {
      execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...args, raw, path]);
      return readFileSync(path);
    };
    const made = kinds.map((options) => convert('-o', options));
    made.push(convert('-c', '-o', 'cluster_size=4k'));
    execFileSync('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-o', 'cluster_size=4k,backing_fmt=raw,backing_file=/ds/base', path, '96k']); // prettier-ignore
    made.push(readFileSync(path));
    return made;
  });
}

const fields = Object.values(headerFields);

/** Changes fields of the header, entries of tables, or any bytes. */
function mutateImage(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(4) === 0) return mutate(seed, chance);
  const bytes = Buffer.from(seed);
  for (let times = chance.of([1, 1, 2, 5]); times > 0; times--) {
    const field = chance.below(3) === 0
      ? { offset: chance.below(bytes.length / 8) * 8, bytes: chance.of([2, 4, 8] as const) }
      : chance.of(fields); // prettier-ignore
    changeField(bytes, field, 'big', chance);
  }
  return chance.below(10) === 0 ? bytes.subarray(0, chance.below(bytes.length)) : bytes;
}

function mustBePossible({ clusterSize, virtualSize, l1Entries, l2EntrySize }: Qcow2Header): void {
  must(Number.isSafeInteger(virtualSize) && virtualSize >= 0, 'the size');
  must(clusterSize >= 512 && clusterSize <= 2 * kib * kib, 'the size of clusters');
  must((l1Entries * clusterSize * clusterSize) / l2EntrySize >= virtualSize, 'the L1 table');
}

/** What qemu-img says of a file; undefined when it refuses it. */
function info(path: string): { readonly 'virtual-size': number } | undefined {
  const { status, stdout } = spawnSync('qemu-img', ['info', '-f', 'qcow2', '--output=json', path]);
  return status === 0 ? (JSON.parse(stdout.toString()) as { 'virtual-size': number }) : undefined;
}

export const qcow2Header: Target = {
  name: 'qcow2-header',
  seeds: images,
  mutate: mutateImage,
  refuses: ['BundleError', 'FailedError', 'UnsupportedError'],
  async read(input) {
    const size = declaredVirtualSize(input);
    must(size === undefined || Number.isSafeInteger(size), 'the declared size');
    const [header, layer] = await inEachWay(
      () => readStandAloneHeader(input),
      () => readImageLayer(input, 'the image'),
    );
    if (header !== undefined) mustBePossible(header as Qcow2Header);
    if (layer !== undefined) mustBePossible((layer as ImageLayer).header);
    return layer;
  },
  judge(accepted: readonly Accepted[]) {
    return inTemporaryFolder((folder) =>
      accepted.map(({ input, value }) => {
        const layer = value as ImageLayer | undefined;
        if (layer === undefined || layer.backing !== undefined) return undefined;
        const path = join(folder, 'image');
        writeFileSync(path, input);
        const judged = info(path)?.['virtual-size'] ?? layer.virtualSize;
        if (judged === layer.virtualSize) return undefined;
        return `${layer.virtualSize} bytes, which are ${judged} for qemu-img`;
      }),
    );
  },
};

export const qcow2Tables: Target = {
  name: 'qcow2-tables',
  seeds: images,
  mutate: mutateImage,
  refuses: ['FailedError', 'UnsupportedError', 'BundleError'],
  async read(input) {
    const { header } = readImageLayer(input.subarray(0, 64 * kib), 'the image');
    const runner = printing(({ program, args }) => {
      if (program === 'stat') return Buffer.from(`81a4 ${input.length}`);
      const numbers = args.slice(4).map(Number);
      const parts: Buffer[] = [];
      for (let at = 0; at < numbers.length; at += 2) {
        const [offset = 0, length = 0] = numbers.slice(at);
        parts.push(input.subarray(offset, offset + length));
      }
      return Buffer.concat(parts);
    });
    await inEachWay(
      () => requireWhole(header, '/ds/image', 'the image', runner),
      async () => {
        const pieces = async function* () {
          yield await Promise.resolve({ offset: 0, data: input });
        };
        const end = await neededEndOfStream(header, input.length, pieces);
        must(Number.isFinite(end) && end >= 0, 'the end');
      },
    );
  },
};

/** Four numbers before the file: the sizes of the manifest, and where the file's data begins. */
const prefix = 32;

function withSizes(virtualSize: number, clusterSize: number, offsets: readonly number[]): Buffer {
  const extents = offsets.map((offset) => ({ offset, length: clusterSize }));
  const layout = layOutQcow2(virtualSize, clusterSize, Extents.of(extents));
  const tables = Buffer.concat([...layout.metadata()]);
  const head = Buffer.alloc(prefix);
  const numbers = [layout.fileSize, virtualSize, clusterSize, tables.length];
  for (const [at, number] of numbers.entries()) head.writeBigUInt64BE(BigInt(number), at * 8);
  return Buffer.concat([head, tables, Buffer.alloc(layout.fileSize - tables.length, 'd')]);
}

function sizesOf(input: Buffer): { readonly sizes: readonly number[]; readonly file: Buffer } {
  const head = Buffer.alloc(prefix);
  input.copy(head);
  const sizes = [0, 8, 16, 24].map((at) => Number(head.readBigUInt64BE(at)));
  return { sizes, file: input.subarray(prefix) };
}

export const qcow2Stream: Target = {
  name: 'qcow2-stream',
  seeds: () => [
    withSizes(512 * kib, 512, [0, 512, 66 * kib, 511.5 * kib]),
    withSizes(kib * kib, 4 * kib, [8 * kib, 12 * kib, 1020 * kib]),
    withSizes(700 * kib, 512, []),
    withSizes(0, 4 * kib, []),
    // An L2 table covers 32 KiB, so there are several, and unused entries of the L1 table between them.
    withSizes(300 * kib, 512, [0, 33 * kib, 100 * kib, 100.5 * kib, 299.5 * kib]),
  ],
  mutate(seed, chance) {
    const bytes = Buffer.from(seed);
    const tables = sizesOf(seed).sizes[3] ?? 0;
    if (chance.below(6) === 0) return Buffer.concat([bytes.subarray(0, prefix), mutate(bytes.subarray(prefix), chance)]); // prettier-ignore
    for (let times = chance.of([1, 1, 2, 5]); times > 0; times--) {
      const entry = prefix + chance.below(tables / 8) * 8;
      const other = prefix + chance.below(tables / 8) * 8;
      const kind = chance.below(6);
      if (kind === 0) changeField(bytes, { offset: chance.below(3) * 8, bytes: 8 }, 'big', chance);
      else if (kind === 1) changeField(bytes, { offset: prefix + chance.of(fields).offset, bytes: 4 }, 'big', chance);
      else if (kind === 2) bytes.copy(bytes, entry, other, other + 8);
      else if (kind === 3) bytes.subarray(entry, entry + 8).swap64();
      else changeField(bytes, { offset: entry, bytes: chance.of([1, 2, 8] as const) }, 'big', chance);
    } // prettier-ignore
    return bytes;
  },
  refuses: ['BundleError'],
  read(input) {
    const { sizes, file } = sizesOf(input);
    const [fileSize = 0, virtualSize = 0, clusterSize = 0] = sizes;
    const check = new Qcow2StreamCheck({ fileSize, virtualSize, clusterSize });
    let step = input.length;
    for (let at = 0; at < file.length;) {
      step = (Math.imul(step, 1_103_515_245) + 12_345) >>> 0;
      const length = 1 + ((step >>> 8) % 3000);
      check.update(file.subarray(at, at + length));
      at += length;
    }
    check.end();
    return file;
  },
  judge(accepted) {
    return inTemporaryFolder((folder) =>
      accepted.map(({ input }) => {
        const { sizes, file } = sizesOf(input);
        const path = join(folder, 'image');
        writeFileSync(path, file);
        const check = ['check', '-f', 'qcow2', path];
        const { status, stdout, stderr } = spawnSync('qemu-img', check, { encoding: 'utf8' });
        if (status !== 0) return `qemu-img finds errors: ${stdout}${stderr}`;
        const size = info(path)?.['virtual-size'];
        return size === sizes[1] ? undefined : `its size is ${size} for qemu-img`;
      }),
    );
  },
};
