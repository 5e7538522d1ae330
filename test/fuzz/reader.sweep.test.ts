// Mutated bundles, read in this process. ONEVMDUMP_FUZZ=long makes it 10,000; ONEVMDUMP_FUZZ_SEED another sweep.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import type { Bundle } from '../../lib/bundle/read/bundle.ts';
import { openBundle } from '../../lib/bundle/read/reader.ts';
import { verifyBundle } from '../../lib/bundle/read/verify.ts';
import { OnevmdumpError } from '../../lib/report/errors.ts';
import { silent } from '../../lib/report/progress.ts';
import { requireRestorable } from '../../lib/restore/restorable.ts';
import { memorySource } from '../support/read-bundle.ts';
import { noLog } from '../support/write-bundle.ts';
import { limits } from '../support/limits.ts';
import { makeForms, mutateInside } from './forms.ts';
import { Chance, mutate } from './mutations.ts';

const isLong = process.env['ONEVMDUMP_FUZZ'] === 'long';
const rounds = isLong ? 10_000 : 300;
const seed = Number(process.env['ONEVMDUMP_FUZZ_SEED'] ?? '1');
const longestMs = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** All that a restore would take of a bundle. */
async function contentOf(bundle: Bundle): Promise<string> {
  const hash = createHash('sha256').update(bundle.vmXml);
  for (const disk of bundle.disks) {
    hash.update(`${disk.id} ${disk.size};`);
    // Pieces may be cut anywhere: what counts is where a run of them begins.
    let end = -1;
    for await (const { offset, data } of disk.pieces()) {
      if (offset !== end) hash.update(`at ${offset};`);
      hash.update(data);
      end = offset + data.length;
    }
  }
  return hash.digest('hex');
}

async function read(bytes: Buffer): Promise<string> {
  const { source } = memorySource(bytes, 'b');
  const bundle = await openBundle(source, { log: noLog });
  for (const disk of bundle.disks) await disk.head();
  return contentOf(bundle);
}

async function verify(bytes: Buffer): Promise<void> {
  const { source } = memorySource(bytes, 'b');
  await verifyBundle(source, { log: noLog, progress: silent, restorable: requireRestorable });
}

test(`${rounds} mutated bundles are refused with an error of ours, or hold what they held`, async () => {
  const forms = await makeForms(folder);
  const sound = new Map<string, string>();
  for (const { name, bytes } of forms) {
    await verify(bytes);
    sound.set(name, await read(bytes));
  }
  const counts = { refused: 0, unchanged: 0, other: 0 };
  for (let round = 0; round < rounds; round++) {
    const chance = new Chance(seed * 1_000_003 + round);
    const form = chance.of(forms);
    const inside = chance.below(3) === 0;
    const bytes = inside ? mutateInside(form, chance) : mutate(form.bytes, chance);
    const started = Date.now();
    const what = `seed ${seed}, round ${round}, ${form.name}${inside ? ', inside' : ''}`;
    try {
      await verify(bytes);
      const content = await read(bytes);
      if (content === sound.get(form.name)) counts.unchanged += 1;
      // A change behind right checksums, or where there are none, makes another sound bundle.
      else if (inside || !form.isProven) counts.other += 1;
      else throw new Error('damage was not noticed');
    } catch (error) {
      if (!(error instanceof OnevmdumpError)) throw new Error(what, { cause: error });
      counts.refused += 1;
    }
    if (Date.now() - started > longestMs) throw new Error(`${what} took ${Date.now() - started} ms`);
  }
  if (isLong) process.stderr.write(`reader, ${rounds} rounds: ${JSON.stringify(counts)}\n`);
  expect(counts.refused).toBeGreaterThan(rounds * 0.5);
  expect(counts.unchanged).toBeGreaterThan(0);
}, limits.fuzzMs); // prettier-ignore
