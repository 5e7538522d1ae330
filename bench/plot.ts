// Draws the medians of a benchmark as horizontal bars in an SVG that is readable in light and dark mode.

export interface Row {
  readonly name: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

const nameWidth = 320;
const barWidth = 520;
const rowHeight = 34;
const top = 64;
/** Where a bar that is too long for the scale is broken. */
const [breakAt, breakWidth] = [480, 6];

/**
 * One row for each side, with a bar of its seconds and one of its CPU seconds, all on one scale.
 * @param most where the scale ends: longer bars are broken; undefined: the longest bar
 */
export function plotSvg(title: string, rows: readonly Row[], most?: number): string {
  const longest = Math.max(
    1e-9,
    ...rows.flatMap(({ seconds, cpuSeconds }) => [seconds, cpuSeconds]),
  );
  const end = Math.min(longest, most ?? longest);
  const lines = rows.map(({ name, seconds, cpuSeconds }, index) => {
    const y = top + index * rowHeight;
    return `  <text class="name" x="${nameWidth - 10}" y="${y + 16}">${escapedXml(name)}</text>
${bar('wall', seconds / end, y)}
${label(seconds, end, y)}
${bar('cpu', cpuSeconds / end, y + 13)}
${label(cpuSeconds, end, y + 13)}`;
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
  <text class="title" x="10" y="22">${escapedXml(title)}</text>
  <rect class="wall" x="${nameWidth}" y="36" width="11" height="11"/>
  <text class="value" x="${nameWidth + 17}" y="46">seconds</text>
  <rect class="cpu" x="${nameWidth + 90}" y="36" width="11" height="11"/>
  <text class="value" x="${nameWidth + 107}" y="46">CPU seconds</text>
${lines.join('\n')}
</svg>
`;
}

/** @param share of the scale; above 1 the bar has a gap, since it is longer than it is drawn */
function bar(kind: string, share: number, y: number): string {
  const rect = (from: number, width: number): string =>
    `  <rect class="${kind}" x="${nameWidth + from}" y="${y}" width="${width.toFixed(1)}" height="11"/>`;
  if (share <= 1) return rect(0, share * barWidth);
  const rest = breakAt + breakWidth;
  return `${rect(0, breakAt)}\n${rect(rest, barWidth - rest)}`;
}

function label(value: number, end: number, y: number): string {
  const x = nameWidth + Math.min(1, value / end) * barWidth + 6;
  return `  <text class="value" x="${x.toFixed(1)}" y="${y + 10}">${value.toFixed(2)}</text>`;
}

export function escapedXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
