// The plots of a benchmark, read back as XML.
import { describe, expect, test } from '@jest/globals';
import { XMLParser } from 'fast-xml-parser';
import { plotLinesSvg } from '../../bench/plot-lines.ts';
import { plotSvg } from '../../bench/plot.ts';

interface Drawing {
  svg: {
    rect: { class: string; width: string }[];
    text: { '#text': string | number; class: string }[];
    path: { class: string; d: string }[];
    circle: { class: string; cx: string; cy: string }[];
  };
}

const read = (svg: string): Drawing =>
  new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' }).parse(svg) as Drawing;

const widths = ({ svg }: Drawing, kind: string): number[] =>
  svg.rect
    .filter((bar) => bar.class === kind)
    .slice(1)
    .map(({ width }) => Number(width));

describe('the plot of a benchmark', () => {
  test('the plot of a benchmark has for each side a bar of seconds and one of CPU seconds, all on one scale', () => {
    const drawing = read(
      plotSvg('title', [
        { name: 'slow', seconds: 10, cpuSeconds: 20 },
        { name: 'fast', seconds: 5, cpuSeconds: 1 },
      ]),
    );
    expect(widths(drawing, 'wall')).toEqual([260, 130]);
    expect(widths(drawing, 'cpu')).toEqual([520, 26]);
  });

  test('the plot of a benchmark breaks a bar that is longer than the scale, and says its value', () => {
    const drawing = read(plotSvg('title', [{ name: 'one', seconds: 5, cpuSeconds: 300 }], 10));
    expect(widths(drawing, 'wall')).toEqual([260]);
    expect(widths(drawing, 'cpu')).toEqual([480, 34]);
    expect(drawing.svg.text.map((text) => text['#text'])).toContain(300);
  });

  test('the plot of a benchmark shows a name with markup characters as text', () => {
    const { svg } = read(plotSvg('a & b', [{ name: 'x < y', seconds: 1, cpuSeconds: 1 }]));
    expect(svg.text.map((text) => text['#text'])).toEqual(
      expect.arrayContaining(['a &amp; b', 'x &lt; y'].map((text) => unescaped(text))),
    );
  });

  test('the plot of the growth has a line for each side through all its sizes, and one color for each side in all panels', () => {
    const points = [
      { x: 1, y: 2 },
      { x: 2, y: 4 },
    ];
    const other = points.map(({ x }) => ({ x, y: 1 }));
    const { svg } = read(
      plotLinesSvg('title', [
        {
          title: 'seconds',
          lines: [
            { name: 'flat', points: other },
            { name: 'steep', points },
          ],
        },
        { title: 'MB', lines: [{ name: 'steep', points }] },
      ]),
    );
    const lines = svg.path.filter((path) => path.class.startsWith('line'));
    expect(lines.map((line) => line.class)).toEqual(['line c0', 'line c1', 'line c1']);
    const [flat, steep] = lines.map(({ d }) => d.match(/[\d.]+/g)?.map(Number) ?? []);
    // Both from x 1 to x 2; y grows downwards, and 0 is at 286.
    expect([flat?.[0], flat?.[2]]).toEqual([steep?.[0], steep?.[2]]);
    expect(flat?.[1]).toBe(flat?.[3]);
    expect(286 - (steep?.[3] ?? 0)).toBeCloseTo(2 * (286 - (steep?.[1] ?? 0)), 0);
    const names = svg.text.filter((text) => text.class.startsWith('d'));
    expect(names.map((name) => [name['#text'], name.class])).toEqual([
      ['flat', 'd0'],
      ['steep', 'd1'],
      ['steep', 'd1'],
    ]);
  });
});

function unescaped(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}
