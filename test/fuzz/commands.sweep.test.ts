// Mutated bundles through show, verify and restore as child processes, against the stand-in for OpenNebula.
// ONEVMDUMP_FUZZ=long makes it 500; ONEVMDUMP_FUZZ_SEED another sweep.
import { readdir, rm, writeFile } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { limits } from '../support/limits.ts';
import { makeWorld, type World } from '../support/world.ts';
import { makeForms, mutateInside, type Form } from './forms.ts';
import { measured, type Measured } from './measured.ts';
import { Chance, mutate } from './mutations.ts';

const isLong = process.env['ONEVMDUMP_FUZZ'] === 'long';
const rounds = isLong ? 500 : 6;
const seed = Number(process.env['ONEVMDUMP_FUZZ_SEED'] ?? '1');
const most = { rssMib: 200, cpuSeconds: 10 };

const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
let world: World;
let forms: readonly Form[];
beforeAll(async () => {
  world = await makeWorld();
  forms = await makeForms(folder);
});
afterAll(async () => {
  await world.close();
  rmSync(folder, { recursive: true });
});

/** What is wrong with the way a command ended, whatever the bundle was. */
function misbehaviour({ code, stderr, rssMib, cpuSeconds }: Measured): string | undefined {
  if (/^\s+at .*\d+:\d+\)?$/m.test(stderr)) return `a stack: ${stderr}`;
  if (stderr.includes('internal error')) return stderr;
  if (code === null || code < 0 || code > 7) return `exit code ${code}: ${stderr}`;
  if (code !== 0 && stderr.trim() === '') return `exit code ${code} without a word`;
  if (rssMib > most.rssMib) return `${rssMib} MiB of memory`;
  if (cpuSeconds > most.cpuSeconds) return `${cpuSeconds} s`;
  return undefined;
}

/** Images of the stand-in whose disk was restored; they are removed. */
async function takeImages(): Promise<string[]> {
  const place = join(world.datastores, '1');
  return (await readdir(place).catch(() => [])).map((name) => join(place, name));
}

test(`${rounds} mutated bundles end show, verify and restore in order`, async () => {
  const counts: Record<string, number> = {};
  const worst = { rssMib: 0, cpuSeconds: 0 };
  for (let round = 0; round < rounds; round++) {
    const chance = new Chance(seed * 2_000_003 + round);
    const form = chance.of(forms);
    // Some stay as they were, so that it is known that they are taken.
    const isSound = round % 10 === 0;
    const inside = !isSound && chance.below(3) === 0;
    const bundle = join(folder, 'bundle');
    const bytes = inside ? mutateInside(form, chance) : mutate(form.bytes, chance);
    await writeFile(bundle, isSound ? form.bytes : bytes);
    const what = `seed ${seed}, round ${round}, ${form.name}${inside ? ', inside' : ''}`;
    const before = new Set(await takeImages());
    const codes: (number | null)[] = [];
    for (const args of [['show', bundle], ['verify', bundle], ['restore', bundle, '-n', `f${round}`]]) {
      const ended = await measured(args, world.env);
      const wrong = misbehaviour(ended);
      if (wrong !== undefined) throw new Error(`${what}: ${args[0]}: ${wrong}`);
      codes.push(ended.code);
      worst.rssMib = Math.max(worst.rssMib, ended.rssMib);
      worst.cpuSeconds = Math.max(worst.cpuSeconds, ended.cpuSeconds);
    }
    const [, verified, restored] = codes;
    if (isSound && codes.some((code) => code !== 0)) throw new Error(`${what}: ${codes.join(' ')}`);
    const proven = isSound || (form.isProven && !inside);
    // verify reads all and restore what it needs: damage to the rest is no reason to refuse the disks.
    if (verified === 0 && restored !== 0) {
      if (proven || restored === 5) throw new Error(`${what}: verify took what restore refused`);
    }
    const images = (await takeImages()).filter((path) => !before.has(path));
    if (restored === 0 && proven) {
      // Both disks have the same content, and qemu-img judges it.
      for (const image of images) {
        const format = execFileSync('head', ['-c', '4', image]).toString('latin1') === 'QFI\xfb' ? 'qcow2' : 'raw';
        execFileSync('qemu-img', ['compare', '-q', '-f', format, '-F', 'raw', image, join(folder, 'disk')]);
      }
      if (images.length !== 2) throw new Error(`${what}: ${images.length} images`);
    }
    for (const image of images) await rm(image, { force: true });
    const left = await world.leftovers();
    if (left.length > 0) throw new Error(`${what}: left behind: ${left.join(', ')}`);
    const key = codes.join(' ');
    counts[key] = (counts[key] ?? 0) + 1;
  }
  if (isLong) {
    process.stderr.write(`commands, ${rounds} rounds, exit codes of show, verify, restore: ${JSON.stringify(counts)}, at most ${JSON.stringify(worst)}\n`);
  }
  expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(rounds);
}, limits.fuzzMs); // prettier-ignore
