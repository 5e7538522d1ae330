// Cases in a child process. It notes the case that it is about to run in a file, so that its parent knows which one has
// crashed or hangs.
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { reasonOf, memoryMib, runCases, type CaseFailure, type Counts } from './run-cases.ts';
import { targetNamed } from './targets.ts';

/** A case that lasts this long does not end: parsers may take two CPU seconds, and the machine may be busy. */
const hangMs = 60_000;
/** What the whole process may have. Garbage of many cases adds up, but not to this. */
const mostMib = 768;

export interface Range {
  readonly name: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

interface Ended {
  readonly failures: readonly CaseFailure[];
  readonly counts: Counts;
  /** The case after the last one that was run. */
  readonly next: number;
}

/** Runs the cases in a child, up to one that ends the child. */
export async function runChild({ name, seed, from, to }: Range): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
  const progress = join(folder, 'progress');
  const words = ['--child', name, String(seed), String(from), String(to), progress];
  const options = ['--max-old-space-size=256', '--expose-gc'];
  const child = spawn(process.execPath, [...options, process.argv[1] ?? '', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors = (errors + data.toString()).slice(-5000)));
  let killedFor: string | undefined;
  const watch = setInterval(() => {
    const at = noted(progress);
    const mib = residentMib(child.pid ?? 0);
    if (at && Date.now() - at.since > hangMs) killedFor = `no end after ${hangMs / 1000} s`;
    if (mib > mostMib) killedFor = `${mib.toFixed(0)} MiB of memory`;
    if (killedFor !== undefined) child.kill('SIGKILL');
  }, 50);
  const status = await new Promise<string>((resolve) =>
    child.once('close', (code, signal) => resolve(String(code ?? signal))),
  );
  clearInterval(watch);
  const lines = output.trim().split('\n').filter(Boolean);
  const said = lines.map((line) => JSON.parse(line) as CaseFailure | Counts);
  const failures = said.filter((one) => 'reason' in one);
  const counts = said.find((one) => 'refused' in one);
  const last = noted(progress);
  rmSync(folder, { recursive: true });
  if (counts) return { failures, counts, next: to };
  const number = last?.number ?? from;
  const ended = failures.some((one) => one.number === number)
    ? []
    : [{ number, reason: killedFor ?? `the process ended with ${status}: ${errors}` }];
  return {
    failures: [...failures, ...ended],
    counts: { refused: 0, accepted: number - from, slowest: 0 },
    next: number + 1,
  };
}

/** The child: runs the cases, and prints failures and counts as lines of JSON. @returns the exit code */
export async function serveChild(words: readonly string[]): Promise<number> {
  const [name = '', seed, from, to, progress = ''] = words;
  const target = targetNamed(name);
  const file = openSync(progress, 'w');
  const note = Buffer.alloc(16);
  let current = Number(from);
  const say = (line: CaseFailure | Counts): void => void writeSync(1, `${JSON.stringify(line)}\n`);
  const crashed = (error: unknown): void => {
    say({ number: current, reason: `nobody caught: ${reasonOf(error)}` });
    process.exit(3);
  };
  process.on('uncaughtException', crashed);
  process.on('unhandledRejection', crashed);
  const counts = await runCases({
    target,
    seed: Number(seed),
    from: Number(from),
    to: Number(to),
    begin(number) {
      current = number;
      note.writeDoubleLE(number);
      note.writeDoubleLE(Date.now(), 8);
      writeSync(file, note, 0, 16, 0);
      // Garbage outside of V8's heap does not make V8 collect it early.
      if (number % 100 === 0 && memoryMib() > mostMib / 2) globalThis.gc?.();
    },
    failed: say,
  });
  await target.close?.();
  say(counts);
  return 0;
}

function noted(progress: string): { readonly number: number; readonly since: number } | undefined {
  try {
    const bytes = readFileSync(progress);
    return bytes.length < 16
      ? undefined
      : { number: bytes.readDoubleLE(), since: bytes.readDoubleLE(8) };
  } catch {
    return undefined;
  }
}

function residentMib(pid: number): number {
  try {
    return (Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096) / 2 ** 20;
  } catch {
    return 0;
  }
}
