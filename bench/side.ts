// What is compared, and running it in turn.
import { sh } from '../test/support/shell.ts';
import { measure, type Measured } from './measure.ts';
import { summaryOf, type Summary } from './statistics.ts';

export interface Side {
  /** The same in every version, so that two runs can be compared: `export-raw-gzip`. */
  readonly id: string;
  readonly name: string;
  /** What is measured: a line of bash. */
  readonly line: string;
  /** Added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** The file or folder that it makes. It is removed before each round. */
  readonly output?: string;
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
    outputMB: undefined as number | undefined,
  }));
  for (let round = 1; round <= rounds; round++) {
    for (const entry of measured) {
      const { side, runs } = entry;
      if (side.output !== undefined) await sh('rm', '-rf', side.output);
      await side.before?.();
      const run = await measure(side.line, side.env);
      runs.push(run);
      const { seconds, cpuSeconds, peakMB } = run;
      process.stderr.write(
        `round ${round}: ${side.id}: ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} CPU s, ${peakMB.toFixed(0)} MB\n`,
      );
      if (round === rounds) {
        await side.check?.();
        if (side.output !== undefined) {
          entry.outputMB = await occupied(side.output);
          await sh('rm', '-rf', side.output);
        }
      }
    }
  }
  return measured.map(({ side: { id, name }, runs, outputMB }) => ({
    id,
    name,
    rounds: runs,
    seconds: summaryOf(runs.map(({ seconds }) => seconds)),
    cpuSeconds: summaryOf(runs.map(({ cpuSeconds }) => cpuSeconds)),
    peakMB: summaryOf(runs.map(({ peakMB }) => peakMB)),
    ...(outputMB === undefined ? {} : { outputMB }),
  }));
}

async function occupied(path: string): Promise<number> {
  return (Number((await sh('du', '-sk', path)).split('\t')[0]) * 1024) / 1e6;
}
