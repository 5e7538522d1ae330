// Runs cases of a target in this process. A case is a number: with the target's name and the seed of the run it gives the
// input, in any process.
import { OnevmdumpError } from '../../lib/report/errors.ts';
import { Chance } from './mutations.ts';
import { isRefusal, type Accepted, type Target } from './target.ts';

/** CPU seconds of one case: a parser that takes longer hangs, or can be made to. */
export const mostCpuSeconds = 2;
/** By which a case may let the memory of the process grow at most. */
export const mostCaseMib = 192;
/** Characters of a message: an error is one line for a person, whatever the input. */
const longestMessage = 10_100;
/** How many inputs a foreign tool judges, of those that were read. */
const mostJudged = 200;

const MiB = 1024 * 1024;

export interface CaseFailure {
  readonly number: number;
  readonly reason: string;
}

export interface Counts {
  refused: number;
  /** Read without an error. */
  accepted: number;
  /** CPU seconds of the slowest case. */
  slowest: number;
}

export interface Cases {
  readonly target: Target;
  readonly seed: number;
  /** The first case, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Called before each case. */
  readonly begin?: (number: number) => void;
  readonly failed: (failure: CaseFailure) => void;
}

/** The input of a case. */
export function caseInput(
  { name, mutate }: Target,
  seeds: readonly Buffer[],
  seed: number,
  number: number,
): Buffer {
  const salt = Buffer.from(name).reduce((sum, byte) => (sum * 31 + byte) >>> 0, seed);
  const chance = new Chance(salt ^ Math.imul(number + 1, 0x85ebca6b));
  return mutate(chance.of(seeds), chance);
}

/** Runs the cases. @returns how many were refused and accepted */
export async function runCases({ target, seed, from, to, begin, failed }: Cases): Promise<Counts> {
  const seeds = await target.seeds();
  const counts: Counts = { refused: 0, accepted: 0, slowest: 0 };
  const accepted: (Accepted & { readonly number: number })[] = [];
  for (let number = from; number < to; number++) {
    begin?.(number);
    const input = caseInput(target, seeds, seed, number);
    try {
      const { value, isRefused, cpuSeconds } = await runCase(target, input);
      counts.slowest = Math.max(counts.slowest, cpuSeconds);
      counts[isRefused ? 'refused' : 'accepted'] += 1;
      const isJudged = target.judge && !isRefused && accepted.length < mostJudged;
      if (isJudged && !seeds.some((one) => one.equals(input)))
        accepted.push({ input, value, number });
    } catch (error) {
      failed({ number, reason: reasonOf(error) });
    }
  }
  const complaints = target.judge?.(accepted) ?? [];
  for (const [at, complaint] of complaints.entries()) {
    const number = accepted[at]?.number ?? from;
    if (complaint !== undefined) failed({ number, reason: `judged: ${complaint}` });
  }
  return counts;
}

/** Reads one input. @throws Error that says what is wrong with the way it was read or refused */
export async function runCase(target: Target, input: Buffer) {
  const cpu = process.cpuUsage();
  const peak = process.resourceUsage().maxRSS;
  let value: unknown;
  let isRefused = false;
  try {
    value = await target.read(input);
  } catch (error) {
    if (!isRefusal(error, target)) throw error;
    if (error.message === '' || error.message.length > longestMessage) {
      throw new Error(`a message of ${error.message.length} characters`, { cause: error });
    }
    isRefused = true;
  }
  const { user, system } = process.cpuUsage(cpu);
  const cpuSeconds = (user + system) / 1e6;
  if (cpuSeconds > mostCpuSeconds) throw new Error(`it took ${cpuSeconds} CPU seconds`);
  const grown = (process.resourceUsage().maxRSS - peak) / 1024;
  if (grown > mostCaseMib) throw new Error(`it took ${grown} MiB of memory`);
  return { value, isRefused, cpuSeconds };
}

/** An error in words, with its stack unless it is one for a person. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `not an Error was thrown: ${String(error)}`;
  const words = error instanceof OnevmdumpError ? `${error.name}: ${error.message}` : error.stack;
  const cause = error.cause === undefined ? '' : `\n  because of ${reasonOf(error.cause)}`;
  return `${words ?? error.message}${cause}`.slice(0, 6000);
}

/** Bytes of all memory of this process. */
export function memoryMib(): number {
  return process.memoryUsage.rss() / MiB;
}
