// The plot of a benchmark, read back as XML.
import { describe, expect, test } from '@jest/globals';
import { XMLParser } from 'fast-xml-parser';
import { plotSvg } from '../../bench/plot.ts';

interface Drawing {
  svg: { rect: { class: string; width: string }[]; text: { '#text': string | number }[] };
}

const read = (svg: string): Drawing =>
  new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' }).parse(svg) as Drawing;

describe('the plot of a benchmark', () => {
  test('the plot of a benchmark has for each side a bar of seconds and one of CPU seconds, all on one scale', () => {
    const { svg } = read(
      plotSvg('title', [
        { name: 'slow', seconds: 10, cpuSeconds: 20 },
        { name: 'fast', seconds: 5, cpuSeconds: 1 },
      ]),
    );
    const widths = (kind: string): number[] =>
      svg.rect
        .filter((bar) => bar.class === kind)
        .slice(1)
        .map(({ width }) => Number(width));
    expect(widths('wall')).toEqual([260, 130]);
    expect(widths('cpu')).toEqual([520, 26]);
  });

  test('the plot of a benchmark shows a name with markup characters as text', () => {
    const { svg } = read(plotSvg('a & b', [{ name: 'x < y', seconds: 1, cpuSeconds: 1 }]));
    expect(svg.text.map((text) => text['#text'])).toEqual(
      expect.arrayContaining(['a &amp; b', 'x &lt; y'].map((text) => unescaped(text))),
    );
  });
});

function unescaped(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}
