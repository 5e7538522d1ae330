// `npm run bench`: compares onevmdump with other ways to back up the same disk, in turn, in one run. Prints a table and
// writes plots. README.md here describes the sides.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { growthPanels, growthTable, measureGrowth, type GrowthSize } from './growth.ts';
import { compressorSides, otherSides } from './other-sides.ts';
import { bundleSides, exportSides } from './our-sides.ts';
import { plotLinesSvg } from './plot-lines.ts';
import { plotSvg } from './plot.ts';
import {
  inWords,
  machine,
  markdownOf,
  ratiosOf,
  roundsInWords,
  withSection,
  type BenchReport,
} from './report.ts';
import { makeScene } from './scene.ts';
import { inTurn } from './side.ts';

/** Where the plot's scale ends, as a multiple of the first side's seconds. */
const longestBar = 6;

const usage = `npm run bench -- [options]

  --data-mib N      how much data the disk has (2048)
  --virtual-mib N   the disk's virtual size (8192)
  --rounds N        how often each side runs (3)
  --only TEXT       only sides whose id contains one of these words, separated by commas
  --dir FOLDER      where everything is made, on the file system to be measured (/var/tmp)
  --growth SIZES    instead, how time and memory grow: MiB of data separated by commas, such as 1024,2048,4096,8192
  --svg FOLDER      where speed.svg and growth.svg go (bench)
  --json FILE       write the figures as JSON
  --before FILE     a column of seconds from the JSON of an earlier run
  --markdown FILE   also put the text between the marks of this document, such as bench/README.md
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'data-mib': { type: 'string', default: '2048' },
      'virtual-mib': { type: 'string', default: '8192' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      dir: { type: 'string', default: '/var/tmp' },
      growth: { type: 'string' },
      svg: { type: 'string', default: 'bench' },
      json: { type: 'string' },
      before: { type: 'string' },
      markdown: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(usage);
  const rounds = count('--rounds', values.rounds);
  const { text, svg, json, name } =
    values.growth === undefined
      ? await speed({
          dir: values.dir,
          dataMiB: count('--data-mib', values['data-mib']),
          virtualMiB: count('--virtual-mib', values['virtual-mib']),
          rounds,
          only: values.only.split(','),
          before: values.before,
        })
      : await growth(
          values.dir,
          values.growth.split(',').map((size) => count('--growth', size)),
          rounds,
          values.only.split(','),
        );
  process.stdout.write(`\n${text}`);
  await writeFile(join(values.svg, `${name}.svg`), svg);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(json, null, 1)}\n`);
  if (values.markdown !== undefined) {
    const document = await readFile(values.markdown, 'utf8');
    await writeFile(values.markdown, withSection(document, name, text));
  }
}

interface Outcome {
  readonly name: 'speed' | 'growth';
  readonly text: string;
  readonly svg: string;
  readonly json: unknown;
}

async function speed(options: {
  readonly dir: string;
  readonly dataMiB: number;
  readonly virtualMiB: number;
  readonly rounds: number;
  readonly only: readonly string[];
  readonly before: string | undefined;
}): Promise<Outcome> {
  const { dir, dataMiB, virtualMiB, rounds, only } = options;
  const before =
    options.before === undefined
      ? undefined
      : (JSON.parse(await readFile(options.before, 'utf8')) as BenchReport);
  const where = machine();
  const scene = await makeScene({ dir, dataMiB, virtualMiB });
  try {
    const sides = [
      ...compressorSides(scene),
      ...exportSides(scene),
      ...bundleSides(scene),
      ...(await otherSides(scene)),
    ].filter(({ id }) => only.some((word) => id.includes(word)));
    if (sides.length === 0) throw new Error(`no side's id contains ${only.join(' or ')}`);
    await scene.provide(sides.flatMap(({ needs = [] }) => needs));
    const figures = await inTurn(sides, rounds);
    const dataMB = scene.dataBytes / 1e6;
    const report: BenchReport = {
      ...{ machine: where, dataMB, virtualMiB, rounds },
      sides: figures,
      ratios: ratiosOf(figures),
    };
    const title = `${dataMB.toFixed(0)} MB of real files in a disk of ${virtualMiB / 1024} GiB, ${rounds === 1 ? 'one round' : `medians of ${rounds} rounds`}`;
    const rows = figures.map(({ name, seconds, cpuSeconds }) => ({
      name,
      seconds: seconds.median,
      cpuSeconds: cpuSeconds.median,
    }));
    return {
      name: 'speed',
      text: markdownOf(report, before),
      // The older steps take so long that nothing else could be seen.
      svg: plotSvg(title, rows, (rows[0]?.seconds ?? 0) * longestBar || undefined),
      json: report,
    };
  } finally {
    await scene.close();
  }
}

async function growth(
  dir: string,
  sizesMiB: readonly number[],
  rounds: number,
  only: readonly string[],
): Promise<Outcome> {
  const where = machine();
  const sizes: GrowthSize[] = await measureGrowth(dir, sizesMiB, { rounds, only });
  return {
    name: 'growth',
    text: `${inWords(where)} ${roundsInWords(rounds)}\n\n${growthTable(sizes)}\n`,
    svg: plotLinesSvg('Time and memory over the data of a disk', growthPanels(sizes)),
    json: { machine: where, rounds, sizes },
  };
}

/** @throws Error unless it is a whole number above 0 */
function count(option: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`${option} is to be a number above 0, not ${text}`);
  return Number(text);
}

main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
