// What is compared, and running it in turn.
import { readFile } from 'node:fs/promises';
import { sh } from '../test/support/shell.ts';
import type { Part } from './scene.ts';
import { measure, type Measured } from './measure.ts';
import { summaryOf, type Summary } from './statistics.ts';

export interface Side {
  /** The same in every version, so that two runs can be compared: `export-raw-gzip`. */
  readonly id: string;
  readonly name: string;
  /** What is measured: a line of bash. */
  readonly line: string;
  /** Parts of the scene that it needs. */
  readonly needs?: readonly Part[];
  /** Added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** The file or folder that it makes. It is removed before each round. */
  readonly output?: string;
  /** A process that runs anyway and works for this side, such as the guest's QEMU: its CPU seconds are measured beside. */
  readonly server?: number;
  /** It is so slow that it only runs in that many of the first rounds. */
  readonly mostRounds?: number;
  /** Makes ready for a round; not measured. */
  before?(): Promise<unknown>;
  /** After the last round. @throws Error when the result is not what it must be */
  check?(): Promise<unknown>;
}

export interface SideFigures {
  readonly id: string;
  readonly name: string;
  readonly rounds: readonly Measured[];
  readonly seconds: Summary;
  readonly cpuSeconds: Summary;
  /** In 1,000,000 bytes. */
  readonly peakMB: Summary;
  /** CPU seconds of the side's server meanwhile. */
  readonly serverCpuSeconds?: Summary;
  /** What the output occupies on the disk, in 1,000,000 bytes; undefined without output. */
  readonly outputMB?: number;
}

/**
 * Runs every side once, then every side again, so that other load of the machine affects all sides alike.
 * @throws Error when a side fails, or its result is wrong
 */
export async function inTurn(sides: readonly Side[], rounds: number): Promise<SideFigures[]> {
  const measured = sides.map((side) => ({
    side,
    runs: [] as Measured[],
    serverCpu: [] as number[],
    outputMB: undefined as number | undefined,
  }));
  for (let round = 1; round <= rounds; round++) {
    for (const entry of measured) {
      const { side, runs, serverCpu } = entry;
      const last = Math.min(rounds, side.mostRounds ?? rounds);
      if (round > last) continue;
      if (side.output !== undefined) await sh('rm', '-rf', side.output);
      await side.before?.();
      const before = await cpuSecondsOf(side.server);
      const run = await measure(side.line, side.env);
      runs.push(run);
      if (side.server !== undefined) serverCpu.push((await cpuSecondsOf(side.server)) - before);
      const { seconds, cpuSeconds, peakMB } = run;
      process.stderr.write(
        `round ${round}: ${side.id}: ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} CPU s, ${peakMB.toFixed(0)} MB\n`,
      );
      if (round === last) {
        await side.check?.();
        if (side.output !== undefined) {
          entry.outputMB = await occupied(side.output);
          await sh('rm', '-rf', side.output);
        }
      }
    }
  }
  return measured.map(({ side: { id, name }, runs, serverCpu, outputMB }) => ({
    id,
    name,
    rounds: runs,
    seconds: summaryOf(runs.map(({ seconds }) => seconds)),
    cpuSeconds: summaryOf(runs.map(({ cpuSeconds }) => cpuSeconds)),
    peakMB: summaryOf(runs.map(({ peakMB }) => peakMB)),
    ...(serverCpu.length === 0 ? {} : { serverCpuSeconds: summaryOf(serverCpu) }),
    ...(outputMB === undefined ? {} : { outputMB }),
  }));
}

async function occupied(path: string): Promise<number> {
  return (Number((await sh('du', '-sk', path)).split('\t')[0]) * 1024) / 1e6;
}

/** User and system time of a process so far: fields 14 and 15 of /proc/PID/stat, proc(5), in ticks of 10 ms. */
async function cpuSecondsOf(pid: number | undefined): Promise<number> {
  if (pid === undefined) return 0;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
