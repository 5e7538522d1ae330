// How time and memory grow with the data of a disk: the same sides with disks of several sizes.
import { compressorSides } from './other-sides.ts';
import { bundleSides, exportSides } from './our-sides.ts';
import type { LinePanel } from './plot-lines.ts';
import { table } from './report.ts';
import { makeScene } from './scene.ts';
import { inTurn, type SideFigures } from './side.ts';

const measured = ['igzip', 'export-raw-gzip', 'igunzip', 'verify', 'extract'];

export interface GrowthSize {
  readonly dataMB: number;
  readonly sides: readonly SideFigures[];
}

/**
 * @param sizesMiB how much data each disk has, each in a disk of four times that size
 * @param only a word of the id of each side that runs
 */
export async function measureGrowth(
  dir: string,
  sizesMiB: readonly number[],
  { rounds, only }: { readonly rounds: number; readonly only: readonly string[] },
): Promise<GrowthSize[]> {
  const sizes: GrowthSize[] = [];
  for (const dataMiB of sizesMiB) {
    process.stderr.write(`growth: ${dataMiB} MiB of data\n`);
    const scene = await makeScene({ dir, dataMiB, virtualMiB: dataMiB * 4 });
    try {
      const sides = [
        ...compressorSides(scene),
        ...exportSides(scene),
        ...bundleSides(scene),
      ].filter(({ id }) => measured.includes(id) && only.some((word) => id.includes(word)));
      await scene.provide(sides.flatMap(({ needs = [] }) => needs));
      sizes.push({ dataMB: scene.dataBytes / 1e6, sides: await inTurn(sides, rounds) });
    } finally {
      await scene.close();
    }
  }
  return sizes;
}

/** A row for each size: seconds of each side, and the most memory of ours. */
export function growthTable(sizes: readonly GrowthSize[]): string {
  const names = sizes[0]?.sides.map(({ id }) => id) ?? [];
  return table([
    ['data, MB', ...names.map((name) => `${name}, s`), 'export, MB', 'verify, MB', 'extract, MB'],
    ...sizes.map(({ dataMB, sides }) => [
      dataMB.toFixed(0),
      ...sides.map(({ seconds }) => seconds.median.toFixed(2)),
      ...['export-raw-gzip', 'verify', 'extract'].map(
        (id) => sides.find((side) => side.id === id)?.peakMB.most.toFixed(0) ?? '',
      ),
    ]),
  ]);
}

export function growthPanels(sizes: readonly GrowthSize[]): LinePanel[] {
  const ids = sizes[0]?.sides.map(({ id }) => id) ?? [];
  const lines = (pick: (side: SideFigures) => number, chosen: readonly string[]) =>
    chosen.map((name) => ({
      name,
      points: sizes.flatMap(({ dataMB, sides }) => {
        const side = sides.find(({ id }) => id === name);
        return side ? [{ x: dataMB / 1000, y: pick(side) }] : [];
      }),
    }));
  return [
    {
      title: 'seconds, median',
      lines: lines(({ seconds }) => seconds.median, ids),
    },
    {
      title: 'memory of the whole tree, MB, most of all rounds',
      lines: lines(
        ({ peakMB }) => peakMB.most,
        ids.filter((id) => !id.startsWith('ig')),
      ),
    },
  ].filter((panel) => panel.lines.length > 0);
}
