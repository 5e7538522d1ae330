// A short run of `npm run fuzz`, and every input that once failed.
import { afterAll, expect, test } from '@jest/globals';
import { existsSync, readdirSync } from 'node:fs';
import { casesFolder, keptCases } from './cases.ts';
import { reasonOf, runCase, runCases, type CaseFailure } from './run-cases.ts';
import { isRefusal } from './target.ts';
import { targets } from './targets.ts';

/** A whole bundle takes as long as a hundred short texts. */
const ofBundles = ['bundle', 'forged-bundle', 'flips', 'gzip-frames'];
const casesOf = (name: string): number => (ofBundles.includes(name) ? 12 : 50);

afterAll(async () => {
  for (const { close } of targets) await close?.();
});

test.each(targets.map((target) => [target.name, target] as const))('the parser %s reads seeds of its own without an error', async (_name, target) => {
  const seeds = await target.seeds();
  expect(seeds.length).toBeGreaterThan(0);
  let read = 0;
  for (const seed of seeds) read += (await runCase(target, seed)).isRefused ? 0 : 1;
  // Some are recorded refusals of oned.
  expect(read).toBeGreaterThanOrEqual(Math.ceil(seeds.length / 10));
}); // prettier-ignore

test.each(targets.map((target) => [target.name, casesOf(target.name), target] as const))('the parser %s reads or refuses %i mutated inputs in order', async (_name, cases, target) => {
  const failures: CaseFailure[] = [];
  const failed = (failure: CaseFailure): void => void failures.push(failure);
  const counts = await runCases({ target, seed: 1, from: 0, to: cases, failed });
  expect(failures).toEqual([]);
  expect(counts.refused + counts.accepted).toBe(cases);
}); // prettier-ignore

test.each(targets.map((target) => [target.name, target] as const))('the parser %s reads or refuses each input that once failed', async (parser, target) => {
  for (const [name, input] of keptCases(parser)) {
    const { value, isRefused } = await runCase(target, input).catch((error: unknown) => {
      throw new Error(`${parser}/${name}: ${reasonOf(error)}`);
    });
    const [complaint] = isRefused ? [] : (target.judge?.([{ input, value }]) ?? []);
    expect({ name, complaint }).toEqual({ name, complaint: undefined });
  }
}); // prettier-ignore

test('every folder of kept inputs is that of a parser', () => {
  const names = targets.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  const folders = existsSync(casesFolder) ? readdirSync(casesFolder) : [];
  expect(folders.filter((name) => !names.includes(name))).toEqual([]);
});

test('a parser that throws anything but an error for a person fails its case', async () => {
  const [target] = targets;
  if (!target) throw new Error('there are no parsers');
  const broken = { ...target, read: (input: Buffer) => input.readUInt8(input.length) };
  const thrown = await runCase(broken, Buffer.from('x')).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  expect(isRefusal(thrown, broken)).toBe(false);
}); // prettier-ignore
