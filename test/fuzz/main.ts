// npm run fuzz: runs many cases of each parser of input that is not trusted, in child processes, so that a crash, a hang
// or a blow-up of memory is also seen and reported with its input.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { casesFolder } from './cases.ts';
import { runChild, serveChild } from './child.ts';
import { recordNbd } from './nbd-record.ts';
import { caseInput, type CaseFailure, type Counts } from './run-cases.ts';
import { targetNamed, targets } from './targets.ts';

/** Cases of one child process, so that what leaks does not add up. */
const casesAtOnce = 10_000;
/** More failures of one parser say nothing new. */
const mostFailures = 20;

const usage = `npm run fuzz -- [NAME...] [--parser NAME[,NAME...]] [--seed N] [--cases N] [--from N] [--keep]
  --parser  only these (default: all: ${targets.map(({ name }) => name).join(', ')})
  --seed    another seed makes other cases (default 1)
  --cases   of each parser (default 100000)
  --from    the number of the first case (default 0)
  --keep    writes the input of each failure to test/fuzz/cases
  --print   prints the input of the case --from, and runs nothing`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      parser: { type: 'string' },
      seed: { type: 'string', default: '1' },
      cases: { type: 'string', default: '100000' },
      from: { type: 'string', default: '0' },
      keep: { type: 'boolean', default: false },
      print: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const [seed, cases, from] = [values.seed, values.cases, values.from].map(Number);
  const chosen = [...positionals, ...(values.parser?.split(',') ?? [])];
  for (const name of chosen) targetNamed(name);
  const names = chosen.length > 0 ? chosen : targets.map(({ name }) => name);
  if (values.print) {
    process.stdout.write(await inputOf(names[0] ?? '', seed ?? 1, from ?? 0));
    return 0;
  }
  let failures = 0;
  for (const name of names) {
    const found = await fuzz(name, { seed: seed ?? 1, cases: cases ?? 0, from: from ?? 0 });
    failures += found.length;
    if (values.keep) for (const { number } of found) await keep(name, seed ?? 1, number);
  }
  process.stdout.write(`${failures} failures\n`);
  return failures === 0 ? 0 : 1;
}

interface Wanted {
  readonly seed: number;
  readonly cases: number;
  readonly from: number;
}

/** Runs the cases of one parser, and prints what was found. */
async function fuzz(name: string, { seed, cases, from }: Wanted): Promise<CaseFailure[]> {
  const started = performance.now();
  const failures: CaseFailure[] = [];
  const sum: Counts = { refused: 0, accepted: 0, slowest: 0 };
  const end = from + cases;
  for (let next = from; next < end && failures.length < mostFailures;) {
    const range = { name, seed, from: next, to: Math.min(end, next + casesAtOnce) };
    const ended = await runChild(range);
    failures.push(...ended.failures);
    sum.refused += ended.counts.refused;
    sum.accepted += ended.counts.accepted;
    sum.slowest = Math.max(sum.slowest, ended.counts.slowest);
    next = ended.next;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  process.stdout.write(
    `${name}: ${sum.refused + sum.accepted} cases in ${seconds} s, ${sum.refused} refused, ${sum.accepted} read, slowest ${sum.slowest.toFixed(2)} s, ${failures.length} failures\n`,
  );
  for (const { number, reason } of failures) {
    process.stdout.write(`  --parser ${name} --seed ${seed} --from ${number} --cases 1\n    ${reason.replaceAll('\n', '\n    ')}\n`); // prettier-ignore
  }
  return failures;
}

async function keep(name: string, seed: number, number: number): Promise<void> {
  const input = await inputOf(name, seed, number);
  mkdirSync(join(casesFolder, name), { recursive: true });
  writeFileSync(join(casesFolder, name, `${seed}-${number}`), input);
}

async function inputOf(name: string, seed: number, number: number): Promise<Buffer> {
  const target = targetNamed(name);
  return caseInput(target, await target.seeds(), seed, number);
}

async function start([first, ...rest]: readonly string[]): Promise<number> {
  if (first === '--child') return await serveChild(rest);
  if (first !== '--record-nbd') return await main(process.argv.slice(2));
  await recordNbd();
  return 0;
}

void start(process.argv.slice(2)).then((code) => (process.exitCode = code));
