// What a run of the benchmark found, as text for people and as JSON for the next run.
import { cpus, loadavg, release, totalmem } from 'node:os';
import type { SideFigures } from './side.ts';
import type { Summary } from './statistics.ts';

/** How fast onevmdump is to be, against one process of the compressor in the same run. */
const targets: readonly { side: string; than: string; most: number }[] = [
  { side: 'export-raw-gzip', than: 'igzip', most: 0.95 },
  { side: 'verify', than: 'igunzip', most: 0.7 },
  { side: 'extract', than: 'igunzip', most: 1 },
];

/** The whole tree of processes, at any size; in 1,000,000 bytes. */
const mostMB = 250;
const ours = /^(export|verify|extract|restore)/;

export interface Ratio {
  readonly name: string;
  readonly value: number;
  readonly most: number;
  readonly met: boolean;
}

export interface BenchReport {
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly memoryGB: number;
    readonly kernel: string;
    readonly node: string;
    /** Of the last minute before the run. */
    readonly load: number;
  };
  readonly dataMB: number;
  readonly virtualMiB: number;
  readonly rounds: number;
  readonly sides: readonly SideFigures[];
  readonly ratios: readonly Ratio[];
}

export function machine(): BenchReport['machine'] {
  const all = cpus();
  return {
    cpus: all.length,
    model: all[0]?.model ?? '?',
    memoryGB: Math.round(totalmem() / 1e9),
    kernel: release(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

/** Ratios of medians, and the memory, each with what it should be at most. Sides that did not run are left out. */
export function ratiosOf(sides: readonly SideFigures[]): Ratio[] {
  const seconds = (id: string): number | undefined =>
    sides.find((side) => side.id === id)?.seconds.median;
  const ratios = targets.flatMap(({ side, than, most }) => {
    const [dividend, divisor] = [seconds(side), seconds(than)];
    if (dividend === undefined || divisor === undefined) return [];
    return [ratio(`seconds of ${side} / ${than}`, dividend / divisor, most)];
  });
  const peaks = sides.filter(({ id }) => ours.test(id)).map(({ peakMB }) => peakMB.most);
  return peaks.length === 0
    ? ratios
    : [
        ...ratios,
        ratio('most memory of an export, verify or restore, MB', Math.max(...peaks), mostMB),
      ];
}

function ratio(name: string, value: number, most: number): Ratio {
  return { name, value, most, met: value <= most };
}

/**
 * The report as Markdown.
 * @param before an earlier run, whose seconds go into a column of their own
 */
export function markdownOf(report: BenchReport, before?: BenchReport): string {
  const { rounds, dataMB, virtualMiB } = report;
  return `${inWords(report.machine)} ${dataMB.toFixed(0)} MB of real
files on ext4 in a disk of ${virtualMiB / 1024} GiB. ${roundsInWords(rounds)}

${sideTable(report.sides, before)}

${ratioTable(report.ratios)}
`;
}

/** A sentence. */
export function inWords({
  cpus: count,
  model,
  memoryGB,
  node,
  load,
}: BenchReport['machine']): string {
  return `${count} CPUs (${model}), ${memoryGB} GB of memory, Node ${node}, load average ${load.toFixed(1)} before the run.`;
}

/** A sentence. */
export function roundsInWords(rounds: number): string {
  return rounds === 1
    ? 'One round.'
    : `Medians of ${rounds} rounds, in brackets the least and the most; memory is the most of all rounds.`;
}

/** @param before an earlier run, whose seconds go into a column of their own */
export function sideTable(sides: readonly SideFigures[], before?: BenchReport): string {
  const served = sides.some(({ serverCpuSeconds }) => serverCpuSeconds);
  return table([
    [
      'side',
      'seconds',
      ...(before ? ['before'] : []),
      'CPU s',
      ...(served ? ['QEMU CPU s'] : []),
      'peak MB',
      'output MB',
    ],
    ...sides.map(({ id, name, seconds, cpuSeconds, serverCpuSeconds, peakMB, outputMB }) => [
      name,
      withSpread(seconds),
      ...(before ? [secondsOf(before, id)] : []),
      cpuSeconds.median.toFixed(2),
      ...(served ? [serverCpuSeconds?.median.toFixed(2) ?? ''] : []),
      peakMB.most.toFixed(0),
      outputMB === undefined ? '' : outputMB.toFixed(0),
    ]),
  ]);
}

function withSpread({ median, least, most }: Summary): string {
  const figure = (value: number): string => value.toFixed(2);
  return figure(median) + (least === most ? '' : ` (${figure(least)}-${figure(most)})`);
}

function secondsOf(report: BenchReport, id: string): string {
  return report.sides.find((side) => side.id === id)?.seconds.median.toFixed(2) ?? '';
}

export function ratioTable(ratios: readonly Ratio[]): string {
  return table([
    ['target', 'is', 'at most', ''],
    ...ratios.map(({ name, value, most, met }) => [
      name,
      value < 20 ? value.toFixed(2) : value.toFixed(0),
      String(most),
      met ? 'met' : 'missed',
    ]),
  ]);
}

/** A table in Markdown as Prettier formats it, so that it can stand in a document. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

/**
 * A document with `text` between its marks `<!-- NAME -->` and `<!-- /NAME -->`.
 * @throws Error when it does not have them
 */
export function withSection(document: string, name: string, text: string): string {
  const [from, to] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const [start, end] = [document.indexOf(from), document.indexOf(to)];
  if (start < 0 || end < start)
    throw new Error(`the document has no marks ${from.trim()} and ${to}`);
  return `${document.slice(0, start + from.length)}\n${text}\n${document.slice(end)}`;
}
