// Draws lines over GB of data, in panels side by side, in an SVG that is readable in light and dark mode.
import { escapedXml } from './plot.ts';

export interface Line {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LinePanel {
  readonly title: string;
  readonly lines: readonly Line[];
}

const [width, height, left, top, gap] = [300, 220, 48, 66, 200];
const lineHeight = 15;
const colors = ['#0969da', '#bf3989', '#1a7f37', '#bc4c00', '#8250df', '#6e7781'];
const darkColors = ['#4493f8', '#db61a2', '#3fb950', '#f0883e', '#a371f7', '#9198a1'];

/** One panel for each entry; both axes begin at 0. Lines of one name have one color. */
export function plotLinesSvg(title: string, panels: readonly LinePanel[]): string {
  const total = left + panels.length * (width + gap);
  const names = [...new Set(panels.flatMap(({ lines }) => lines.map(({ name }) => name)))];
  const colorOf = (name: string): number => names.indexOf(name) % colors.length;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${total} ${top + height + 46}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">
  <style>
    .title { font-size: 15px; font-weight: 600; fill: #1f2328; }
    .name { fill: #1f2328; }
    .value { font-size: 11px; fill: #59636e; }
    .axis { stroke: #d1d9e0; stroke-width: 1; fill: none; }
    .line { stroke-width: 2; fill: none; }
${colors.map((color, index) => `    .c${index} { stroke: ${color}; } .d${index} { fill: ${color}; }`).join('\n')}
    @media (prefers-color-scheme: dark) {
      .title, .name { fill: #f0f6fc; }
      .value { fill: #9198a1; }
      .axis { stroke: #3d444d; }
${darkColors.map((color, index) => `      .c${index} { stroke: ${color}; } .d${index} { fill: ${color}; }`).join('\n')}
    }
  </style>
  <text class="title" x="10" y="22">${escapedXml(title)}</text>
${panels.map((panel, index) => drawPanel(panel, left + index * (width + gap), colorOf)).join('\n')}
</svg>
`;
}

function drawPanel(
  { title, lines }: LinePanel,
  from: number,
  colorOf: (name: string) => number,
): string {
  const points = lines.flatMap((line) => line.points);
  const xs = scale(Math.max(...points.map(({ x }) => x)));
  const ys = scale(Math.max(...points.map(({ y }) => y)));
  const x = (value: number): string => (from + (value / xs.end) * width).toFixed(1);
  const y = (value: number): string => (top + height - (value / ys.end) * height).toFixed(1);
  const grid = ys.marks.map(
    (mark) => `  <path class="axis" d="M${from} ${y(mark)}h${width}"/>
  <text class="value" text-anchor="end" x="${from - 6}" y="${Number(y(mark)) + 4}">${mark}</text>`,
  );
  const below = xs.marks.map(
    (mark) =>
      `  <text class="value" text-anchor="middle" x="${x(mark)}" y="${top + height + 16}">${mark}</text>`,
  );
  const drawn = lines.map((line) => {
    const color = colorOf(line.name);
    const path = line.points.map((point) => `${x(point.x)} ${y(point.y)}`).join('L');
    const dots = line.points.map(
      (point) => `<circle class="d${color}" cx="${x(point.x)}" cy="${y(point.y)}" r="3"/>`,
    );
    return `  <path class="line c${color}" d="M${path}"/>${dots.join('')}`;
  });
  return `  <text class="name" x="${from}" y="${top - 16}">${escapedXml(title)}</text>
${[...grid, ...below, ...drawn, ...labels(lines, from + width + 10, { y, colorOf })].join('\n')}
  <text class="value" text-anchor="middle" x="${from + width / 2}" y="${top + height + 34}">GB of data</text>`;
}

/** Names at the ends of their lines, moved apart so that each can be read. */
function labels(
  lines: readonly Line[],
  x: number,
  { y, colorOf }: { y: (value: number) => string; colorOf: (name: string) => number },
): string[] {
  const places = lines
    .map(({ name, points }) => ({ name, at: Number(y(points.at(-1)?.y ?? 0)) + 4 }))
    .sort((one, other) => one.at - other.at);
  // First downwards, then back up from the lower edge.
  places.forEach((place, n) => {
    place.at = Math.max(place.at, (places[n - 1]?.at ?? -Infinity) + lineHeight);
  });
  places.reverse();
  places.forEach((place, n) => {
    const below = places[n - 1]?.at ?? top + height + 4 + lineHeight;
    place.at = Math.min(place.at, below - lineHeight);
  });
  return places.map(
    ({ name, at }) =>
      `  <text class="d${colorOf(name)}" x="${x}" y="${at.toFixed(1)}">${escapedXml(name)}</text>`,
  );
}

/** Round marks from 0 to at least `most`: 3 to 6 of them. */
function scale(most: number): { end: number; marks: number[] } {
  const rough = Math.max(1e-9, most) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const count = Math.ceil(most / step);
  const marks = Array.from({ length: count + 1 }, (_, n) => Number((n * step).toPrecision(6)));
  return { end: count * step || 1, marks };
}
