// Watches a guest's clock, which a loop in the guest sends over its control port all the time, every 10 ms or so.
// The clock of a guest that is paused stands still, so the guest itself sees no gap: a pause is what its clock has
// lost against this machine's. A guest that merely gets no processor for a while loses nothing.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../support/limits.ts';
import type { LabVm } from './lab-vm.ts';

interface Tick {
  /** When it came in: milliseconds of this machine's monotonic clock. */
  readonly at: number;
  /** What the guest's clock showed, in milliseconds. */
  readonly shown: number;
}

export interface ClockReport {
  /** The longest time in which no tick came in, in milliseconds: a pause, or a guest without a processor. */
  readonly longestGapMs: number;
  /** The same before and after what was watched. */
  readonly usualGapMs: number;
  /** How long the guest's clock stood still, in milliseconds: how long the guest was paused. Exact to 1 ms. */
  readonly pausedMs: number;
}

/** How long the clock is watched before and after, in milliseconds. */
const besideMs = 1500;

/**
 * Watches the clock of a running guest while `body` runs, which must not ask the guest anything meanwhile.
 * In a guest whose writes hang, the clock goes on: it needs no disk.
 */
export async function whileClockRuns<T>(
  vm: LabVm,
  body: () => Promise<T>,
): Promise<{ readonly result: T; readonly clock: ClockReport }> {
  const id = randomBytes(4).toString('hex');
  const socket = connect(vm.controlPath);
  const ticks: Tick[] = [];
  let rest = '';
  let stopped = (): void => undefined;
  const end = new Promise<void>((resolve) => (stopped = resolve));
  socket.on('data', (data) => {
    const at = performance.now();
    const lines = `${rest}${data.toString()}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, what = ''] = new RegExp(`^${id} (\\S+)`).exec(line) ?? [];
      if (what === 'stopped') stopped();
      else if (what !== '') ticks.push({ at, shown: Number(what) * 1000 });
    }
  });
  try {
    await once(socket, 'connect');
    socket.write(`${id} tell-time\n`);
    await sleep(besideMs);
    const from = performance.now();
    const result = await body();
    const to = performance.now();
    await sleep(besideMs);
    socket.write(`${id} stop\n`);
    await Promise.race([
      end,
      once(socket, 'close', { signal: AbortSignal.timeout(limits.soonMs) }),
    ]);
    return { result, clock: reportOn(ticks, from, to) };
  } finally {
    socket.destroy();
  }
}

/** For the test's output. */
export function clockLine({ longestGapMs, usualGapMs, pausedMs }: ClockReport): string {
  const [longest, usual, paused] = [longestGapMs, usualGapMs, pausedMs].map((ms) => Math.round(ms));
  return `longest gap ${longest} ms (else ${usual} ms), paused for ${paused} ms`;
}

function reportOn(ticks: readonly Tick[], from: number, to: number): ClockReport {
  const before = ticks.filter(({ at }) => at < from);
  const after = ticks.filter(({ at }) => at > to);
  if (before.length < 10 || after.length < 10) {
    throw new Error(
      `the guest's clock was heard ${before.length} times before and ${after.length} times after`,
    );
  }
  // From the last tick before to the first one after.
  const during = ticks.slice(before.length - 1, ticks.length - after.length + 1);
  return {
    longestGapMs: longestGap(during),
    usualGapMs: Math.max(longestGap(before), longestGap(after)),
    pausedMs: lag(after) - lag(before),
  };
}

/** How far the guest's clock is behind, without the time that ticks take to come in: the least of all. */
function lag(ticks: readonly Tick[]): number {
  return Math.min(...ticks.map(({ at, shown }) => at - shown));
}

function longestGap(ticks: readonly Tick[]): number {
  return ticks.reduce((longest, { at }, n) => Math.max(longest, at - (ticks[n - 1]?.at ?? at)), 0);
}
