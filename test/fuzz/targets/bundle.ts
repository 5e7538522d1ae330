// Bundles as a whole, and the parts of them that have parsers of their own.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '../../../lib/bundle/read/reader.ts';
import { verifyBundle } from '../../../lib/bundle/read/verify.ts';
import { withoutZeroTail } from '../../../lib/bundle/compression/frame-walk.ts';
import { gunzip } from '../../../lib/bundle/compression/gunzip.ts';
import { ZstdWalk } from '../../../lib/bundle/compression/zstd-walk.ts';
import { silent } from '../../../lib/report/progress.ts';
import { requireRestorable } from '../../../lib/restore/restorable.ts';
import { memorySource } from '../../support/read-bundle.ts';
import { noLog } from '../../support/write-bundle.ts';
import type { BundleDisk } from '../../../lib/bundle/read/bundle.ts';
import { forge } from '../forged.ts';
import { makeForms, mutateInside, type Form } from '../forms.ts';
import { mutate } from '../mutations.ts';
import { inPieces } from '../reading.ts';
import { must, type Target } from '../target.ts';

let made: Promise<readonly Form[]> | undefined;
let known: readonly Form[] = [];

export function forms(): Promise<readonly Form[]> {
  return (made ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
    try {
      known = await makeForms(folder);
      return known;
    } finally {
      rmSync(folder, { recursive: true });
    }
  })());
}

const formsOf = async (pattern: RegExp): Promise<readonly Buffer[]> =>
  (await forms()).filter(({ name }) => pattern.test(name)).map(({ bytes }) => bytes);

export const gzipFrames: Target = {
  name: 'gzip-frames',
  seeds: () => formsOf(/gzip$/),
  mutate,
  refuses: ['BundleError'],
  async read(input) {
    const range = { offset: 0, length: input.length };
    const isZero = (at: number) => Promise.resolve(input.subarray(at).every((byte) => byte === 0));
    const unpacking = gunzip({ ...range, chunks: inPieces(input, 9000), endsInZeros: isZero });
    const hash = createHash('sha256');
    try {
      for await (const chunk of unpacking.chunks) hash.update(chunk);
    } finally {
      unpacking.stop();
    }
    return hash.digest('hex');
  },
}; // prettier-ignore

export const zstdFrames: Target = {
  name: 'zstd-frames',
  seeds: async () => {
    const whole = await formsOf(/zstd$/);
    return [...whole, ...whole.map((bytes) => Buffer.concat([bytes, Buffer.alloc(2000)]))];
  },
  mutate,
  refuses: ['BundleError'],
  async read(input) {
    const parts: Buffer[] = [];
    for await (const part of withoutZeroTail(inPieces(input, 9000), new ZstdWalk())) parts.push(part);
    const passed = Buffer.concat(parts);
    must(passed.equals(input.subarray(0, passed.length)), 'other bytes than came');
    must(input.subarray(passed.length).every((byte) => byte === 0), 'something was left out');
    return passed.length;
  },
}; // prettier-ignore

/** Reads all of a bundle in all ways. @returns a hash of what a restore would take of it */
async function readWhole(input: Buffer): Promise<string> {
  const { source } = memorySource(input, 'b');
  await verifyBundle(source, { log: noLog, progress: silent, restorable: requireRestorable });
  const opened = await openBundle(memorySource(input, 'b').source, { log: noLog });
  const whole = createHash('sha256').update(opened.vmXml);
  for (const file of opened.state) whole.update(await file.read());
  for (const disk of opened.disks) {
    whole.update(await disk.head());
    const content = disk.size < mostCompared ? Buffer.alloc(disk.size) : undefined;
    for await (const { offset, data } of disk.pieces()) content?.set(data, offset);
    if (content) whole.update(content);
    if (disk.format === 'raw' && disk.region && content) await sameRegions(disk, content);
  }
  await opened.close();
  return whole.digest('hex');
}

const mostCompared = 2 ** 24;

/** What `verify` has found to be right reads the same region by region. */
async function sameRegions(disk: BundleDisk, content: Buffer): Promise<void> {
  const { count = 0, regionSize = 0 } = (await disk.table?.()) ?? {};
  for (let index = 0; index < count; index++) {
    const expected = content.subarray(index * regionSize, (index + 1) * regionSize);
    must((await disk.region?.(index))?.equals(expected) === true, 'a region with other bytes');
  }
}

/** Whole bundles: those of this tool, and archives of GNU tar. reader.sweep.test.ts also compares what is read. */
export const bundle: Target = {
  name: 'bundle',
  seeds: () => formsOf(/./),
  mutate(seed, chance) {
    const form = known.find(({ bytes }) => bytes === seed);
    return form && chance.below(2) === 0 ? mutateInside(form, chance) : mutate(seed, chance);
  },
  refuses: ['BundleError', 'UnsupportedError'],
  read: readWhole,
};

/** Bundles with right checksums, all the way up to the trailer. */
export const forgedBundle: Target = {
  name: 'forged-bundle',
  seeds: () => formsOf(/^indexed none/),
  mutate: forge,
  refuses: ['BundleError', 'UnsupportedError'],
  read: readWhole,
};
