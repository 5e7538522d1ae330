// Draws the medians of a benchmark as horizontal bars in an SVG that is readable in light and dark mode.

export interface Row {
  readonly name: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

const nameWidth = 300;
const barWidth = 520;
const rowHeight = 34;
const top = 64;

/** One row for each side, with a bar of its seconds and one of its CPU seconds, all on one scale. */
export function plotSvg(title: string, rows: readonly Row[]): string {
  const most = Math.max(1e-9, ...rows.flatMap(({ seconds, cpuSeconds }) => [seconds, cpuSeconds]));
  const length = (value: number): string => ((value / most) * barWidth).toFixed(1);
  const bar = (kind: string, value: number, y: number): string =>
    `  <rect class="${kind}" x="${nameWidth}" y="${y}" width="${length(value)}" height="11"/>
  <text class="value" x="${nameWidth + Number(length(value)) + 6}" y="${y + 10}">${value.toFixed(2)}</text>`;
  const lines = rows.map(({ name, seconds, cpuSeconds }, index) => {
    const y = top + index * rowHeight;
    return `  <text class="name" x="${nameWidth - 10}" y="${y + 16}">${escaped(name)}</text>
${bar('wall', seconds, y)}
${bar('cpu', cpuSeconds, y + 13)}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${nameWidth + barWidth + 60} ${top + rows.length * rowHeight + 6}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">
  <style>
    .title { font-size: 15px; font-weight: 600; fill: #1f2328; }
    .name { text-anchor: end; fill: #1f2328; }
    .value { font-size: 11px; fill: #59636e; }
    .wall { fill: #0969da; }
    .cpu { fill: #9198a1; }
    @media (prefers-color-scheme: dark) {
      .title, .name { fill: #f0f6fc; }
      .value { fill: #9198a1; }
      .wall { fill: #4493f8; }
      .cpu { fill: #59636e; }
    }
  </style>
  <text class="title" x="10" y="22">${escaped(title)}</text>
  <rect class="wall" x="${nameWidth}" y="36" width="11" height="11"/>
  <text class="value" x="${nameWidth + 17}" y="46">seconds</text>
  <rect class="cpu" x="${nameWidth + 90}" y="36" width="11" height="11"/>
  <text class="value" x="${nameWidth + 107}" y="46">CPU seconds</text>
${lines.join('\n')}
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
